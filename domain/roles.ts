/** What a key may be. Who may say what to a release stands beside the commands, in release.ts. */
export const roles = ['viewer', 'predictor', 'operator', 'approver', 'admin'] as const
export type Role = (typeof roles)[number]

/**
 * What parts of the system sign as in the audit. A person's key under one of these names would let its deeds pass for the
 * system's own, and a release that such a part has asked for could not be told from one that this person has.
 */
const partNames = ['release', 'temporal', 'public', 'monitor', 'schedule', 'drill', 'system', 'tenure']

export const isPartName = (name: string): boolean =>
  partNames.includes((/^[^/]*/.exec(name)?.[0] ?? '').toLowerCase())
