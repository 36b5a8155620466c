/** Lists the roles that may acknowledge and resolve alerts. */
import type { Role } from '../../../../domain/roles.ts'

export const alertHandlers: readonly Role[] = ['operator', 'approver', 'admin']
