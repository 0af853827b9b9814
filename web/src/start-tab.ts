/**
 * What the editors show first. GraphiQL restores its tabs after a reload, but fills the editors from other places, which
 * loses a tab's variables or opens an empty tab besides; told the active tab's own contents, it finds that tab again.
 */
import { EXAMPLES } from "./examples";
import { isObject, textAt } from "./json";

interface StartTab {
  readonly initialQuery: string;
  readonly initialVariables: string;
}

export function startTab(storage: Storage): StartTab {
  const tab = activeTab(storage.getItem("graphiql:tabState")) ?? EXAMPLES[0];
  return { initialQuery: textAt(tab, "query") ?? "", initialVariables: textAt(tab, "variables") ?? "" };
}

function activeTab(stored: string | null): unknown {
  try {
    const state: unknown = JSON.parse(stored ?? "null");
    if (!isObject(state) || !Array.isArray(state["tabs"])) return undefined;
    return state["tabs"][Number(state["activeTabIndex"])];
  } catch {
    return undefined;
  }
}
