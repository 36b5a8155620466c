/** Lists the actions on a model, by the last part of their paths, with the roles that may take them. */
import { commandRoles } from '../../../../domain/release/state.ts'
import { startRoles, type Role } from '../../../../domain/roles.ts'
import { operators } from '../../../http/route.ts'

const listed = {
  rollback: { word: 'Roll back', allow: commandRoles.rollback, does: 'Roll back the version that serves' },
  'kill-switch': { word: 'Kill switch', allow: operators, does: 'Set or end the kill switch' },
  retrain: { word: 'Retrain', allow: startRoles.retrain, does: 'Start a retraining' },
  drill: { word: 'Start a drill', allow: startRoles.drill, does: 'Start a drill' },
}

export type ModelActionName = keyof typeof listed
export const modelActionNames = Object.keys(listed) as ModelActionName[]
export const modelActions: Readonly<
  Record<ModelActionName, { word: string; allow: readonly Role[]; does: string }>
> = listed
