/** Null for each name: metrics that are undefined, where 0 would pass for a measured value. */
export const nullsOf = <Name extends string>(list: readonly Name[]): Record<Name, null> =>
  Object.fromEntries(list.map((name) => [name, null])) as Record<Name, null>
