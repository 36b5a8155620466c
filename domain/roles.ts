/** What a key may be. Who may say what to a release stands beside the commands, in release.ts. */
export const roles = ['viewer', 'predictor', 'operator', 'approver', 'admin'] as const
export type Role = (typeof roles)[number]
