// Text from elsewhere, read as JSON without believing that it is any.

/** undefined: it is no JSON object. */
export function parse(value: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(value);
    return json !== null && typeof json === 'object' && !Array.isArray(json)
      ? (json as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
