/** Reading JSON that came from outside without trusting its shape. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text under `key`, or null when there is none or it is not a text. */
export function textAt(value: unknown, key: string): string | null {
  const found = isObject(value) ? value[key] : undefined;
  return typeof found === "string" ? found : null;
}

/** Whether one of a GraphQL answer's errors, or one of a payload's `errors`, has this code. */
export function hasErrorCode(errors: unknown, code: string): boolean {
  if (!Array.isArray(errors)) return false;
  return errors.some((error: unknown) => {
    const extensions = isObject(error) ? error["extensions"] : undefined;
    return textAt(error, "code") === code || textAt(extensions, "code") === code;
  });
}
