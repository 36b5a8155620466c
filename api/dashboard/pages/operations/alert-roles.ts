/** Who may take an alert on, or say that it is over. */
import type { Role } from '../../../../domain/roles.ts'

export const alertHandlers: readonly Role[] = ['operator', 'approver', 'admin']
