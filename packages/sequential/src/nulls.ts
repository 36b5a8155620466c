/** Names undefined metrics. */

/** Null for each name; 0 would look like a measured value. */
export const nullsOf = <Name extends string>(list: readonly Name[]): Record<Name, null> =>
  Object.fromEntries(list.map((name) => [name, null])) as Record<Name, null>
