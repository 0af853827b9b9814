/** The page at "/": GraphiQL with our examples, our sign-in, and the watched answer as readable text. */
import "./monaco";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import "graphiql/style.css";
import { EXAMPLES } from "./examples";
import { fetcher } from "./fetcher";
import { LiveAnswerPanel } from "./live-answer";
import { SessionChip } from "./session-chip";
import { startTab } from "./start-tab";
import { WrapLongLines } from "./wrap-long-lines";
import "./playground.css";

// What is typed here has passwords and tokens in it, so it lives as long as the browser tab and not longer. It also
// means that a newer server's examples are seen and not hidden by old ones.
const storage = sessionStorage;

const root = document.getElementById("playground");
if (root === null) throw new Error("index.html has no element with the id playground");
createRoot(root).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    defaultTabs={EXAMPLES}
    defaultEditorToolsVisibility="variables"
    showPersistHeadersSettings={false}
    {...startTab(storage)}
  >
    <GraphiQL.Logo>
      <div className="brand">
        <SessionChip />
        <span>Notion Assistant</span>
      </div>
    </GraphiQL.Logo>
    <GraphiQL.Footer>
      <LiveAnswerPanel />
    </GraphiQL.Footer>
    <WrapLongLines />
  </GraphiQL>,
);
