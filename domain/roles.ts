/** Defines the roles of keys. The commands of each role are in release/state.ts. */
export const roles = ['viewer', 'predictor', 'labeller', 'operator', 'approver', 'admin'] as const
export type Role = (typeof roles)[number]

/** Keys of programs: they see no page and no list. */
export const programRoles: readonly Role[] = ['predictor', 'labeller']

/**
 * The actors of the system in the audit log. A user's key must not have one of these names, or its actions would look like those of
 * the system.
 */
const partNames = ['release', 'temporal', 'public', 'monitor', 'schedule', 'drill', 'system', 'tenure']

export const isPartName = (name: string): boolean =>
  partNames.includes((/^[^/]*/.exec(name)?.[0] ?? '').toLowerCase())
