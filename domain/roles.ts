/** Defines the roles of keys, and the starts that they authorise. The commands of each role are in release/state.ts. */
export const roles = ['viewer', 'predictor', 'labeller', 'operator', 'approver', 'admin'] as const
export type Role = (typeof roles)[number]

/** Keys of programs: they see no page and no list. */
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
} as const satisfies Record<string, readonly Role[]>

/** The workflows that users start. */
export type StartType = keyof typeof startRoles

/** What the names in a request to start stood for. */
export interface StartBasis {
  /** The champion of the model; null for a model without one. */
  champion?: string | null
  /** The digest of the artifact of the version. */
  artifact?: string
}

/** Proves that the bearer of a key has asked for this start. The first activity of the workflow accepts it once. */
export interface Authorisation {
  id: string
  basis: StartBasis
  /** `<key id>.<valid until, in milliseconds>.<signature>` */
  signature: string
}

/**
 * The actors of the system in the audit log. A user's key must not have one of these names, or its actions would look like those of
 * the system.
 */
const partNames = ['release', 'temporal', 'public', 'monitor', 'schedule', 'drill', 'system', 'tenure']

export const isPartName = (name: string): boolean =>
  partNames.includes((/^[^/]*/.exec(name)?.[0] ?? '').toLowerCase())
