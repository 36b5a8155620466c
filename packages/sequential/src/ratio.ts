/** Divides a part by its total. */

/** `part / total`; null unless the total is above 0. */
export const ratioOf = (part: number, total: number): number | null => (total > 0 ? part / total : null)
