/** Defines the roles of keys and the workflows that they may start. The commands of each role are in release/state.ts. */
export const roles = [
  'viewer',
  'predictor',
  'labeller',
  'developer',
  'operator',
  'approver',
  'admin',
] as const
export type Role = (typeof roles)[number]

/** Roles of keys for programs, which may not read pages or lists. */
export const programRoles: readonly Role[] = ['predictor', 'labeller']

/** The roles that may start each workflow. Only approvers and admins mark a release as a hotfix. */
export const startRoles = {
  release: ['operator', 'admin', 'approver'],
  retrain: ['operator', 'admin'],
  trial: ['operator', 'admin'],
  sweep: ['operator', 'admin'],
  drill: ['operator', 'admin'],
  batchPredict: ['operator', 'admin'],
  materialise: ['operator', 'admin'],
  loadTest: ['operator', 'admin'],
} as const satisfies Record<string, readonly Role[]>

/** The roles that may send model files. */
export const syncRoles: readonly Role[] = ['developer', 'admin']

/** The roles that may let code run: that of model files in the workers, and, if they may also retrain, that of a brought version. */
export const codeRoles: readonly Role[] = ['approver', 'admin']

/** The workflows that users start. */
export type StartType = keyof typeof startRoles

/**
 * The system's actors in the audit log. A user's key must not have one of these names, because its actions would look like the system's.
 */
const partNames = ['release', 'temporal', 'public', 'monitor', 'schedule', 'drill', 'system', 'tenure']

export const isPartName = (name: string): boolean =>
  partNames.includes((/^[^/]*/.exec(name)?.[0] ?? '').toLowerCase())
