/** Wraps long lines in the editors: a prompt is one line of JSON, and GraphiQL has no property for it. */
import { useGraphiQL } from "@graphiql/react";
import { useEffect } from "react";

export function WrapLongLines() {
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  useEffect(() => {
    queryEditor?.updateOptions({ wordWrap: "on" });
    variableEditor?.updateOptions({ wordWrap: "on" });
  }, [queryEditor, variableEditor]);
  return null;
}
