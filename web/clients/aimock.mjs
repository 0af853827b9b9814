// Serves aimock, a stand-in for AI providers that others have made, on a free port until its input ends.
import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({ port: 0, chunkSize: 5 });
mock.onMessage("hello", { content: "Hi there, this is the answer.", reasoning: "Let me think about it." });
mock.onMessage("limit", { error: { message: "Rate limit reached", type: "rate_limit_error" }, status: 429 });
mock.onMessage("boom", { error: { message: "It has exploded", type: "server_error" }, status: 500 });
mock.onMessage("cut", { content: "This answer is cut off in the middle." }, { truncateAfterChunks: 4, latency: 20 });
await mock.start();
console.log(mock.url);
process.stdin.on("end", () => process.exit(0)).resume();
