/** Says who is signed in, and signs out. */
import { session, signOut } from "./session";
import { useStore } from "./store";

export function SessionChip() {
  const current = useStore(session);
  if (current === null) {
    return (
      <span className="chip" data-testid="session" data-state="signed-out">
        Not signed in
      </span>
    );
  }
  return (
    <span className="chip" data-testid="session" data-state="signed-in">
      {current.username === null ? "Signed in" : `Signed in as ${current.username}`}
      <button type="button" data-testid="sign-out" onClick={() => void signOut()}>
        Sign out
      </button>
    </span>
  );
}
