/** Shows the watched answer below the raw response: the whole text so far, growing as it arrives. */
import { useGraphiQL } from "@graphiql/react";
import { type LiveAnswer, liveAnswer, type Phase } from "./live";
import { useStore } from "./store";

const PHASES: Readonly<Record<Phase, string>> = {
  connecting: "Connecting …",
  streaming: "Writing …",
  reconnecting: "Connection lost, trying again …",
  finished: "Ended",
  stopped: "Stopped watching (the server goes on writing)",
  failed: "Failed",
};

export function LiveAnswerPanel() {
  const answer = useStore(liveAnswer);
  const isWatchTab = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.query?.includes("generationEvents"));
  if (answer === null || isWatchTab !== true) return null;
  return (
    <section className="live" aria-label="Watched answer" data-testid="live" data-phase={answer.phase}>
      <header>
        <strong data-testid="live-phase">{PHASES[answer.phase]}</strong>
        <span data-testid="live-outcome">{answer.outcome}</span>
        <PublishedPage page={answer.page} />
      </header>
      {/* Laid out from the bottom, so that the browser itself keeps the end in view until somebody scrolls up. */}
      <div className="live-scroll">
        <div className="live-content">
          {answer.reasoning !== "" && (
            <details>
              <summary>Reasoning</summary>
              <div className="live-text" data-testid="live-reasoning">
                {answer.reasoning}
              </div>
            </details>
          )}
          <div className="live-text" data-testid="live-text">
            {answer.text}
          </div>
        </div>
      </div>
    </section>
  );
}

function PublishedPage({ page }: Pick<LiveAnswer, "page">) {
  if (page === null) return null;
  const label = `Notion page: ${page.status}`;
  if (page.url === null) return <span data-testid="live-page">{label}</span>;
  return (
    <a data-testid="live-page" href={page.url} target="_blank" rel="noreferrer">
      {label}
    </a>
  );
}
