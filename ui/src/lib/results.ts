/** Results of mutations are unions: what is not a success says what is wrong. */

type Result =
  | { __typename?: string; message?: string; errors?: { message: string; path: string[] }[] }
  | null
  | undefined;

/** The words of a result that is an error; undefined for a success. */
export function refusal(result: unknown, failure?: { message: string }): string | undefined {
  if (failure) return failure.message;
  const given = result as Result;
  if (!given) return "There is no answer.";
  if (given.errors?.length)
    return given.errors.map((each) => `${each.path.join(" › ") || "config"}: ${each.message}`).join("\n");
  const name = given.__typename ?? "";
  const bad = /Error$|NotFound$|Conflict$|Failure$|NotSupported$/.test(name);
  return bad ? (given.message ?? name) : undefined;
}
