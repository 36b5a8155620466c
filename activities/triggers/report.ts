/** Raises and resolves the alert of a trigger that cannot look at what it waits for. */
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Deps } from '../deps.ts'

const keyOf = (model: string, trigger: string): string => `trigger/${model}/${trigger}`

export async function reportUnreadable(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  { model, trigger, problem }: { model: string; trigger: string; problem: string },
): Promise<void> {
  await upsertAlert(store, {
    dedupeKey: keyOf(model, trigger),
    model,
    severity: 'warning',
    kind: 'trigger_unreadable',
    message: `The trigger ${trigger} of ${model} cannot look at what it waits for: ${problem}`,
    evidence: { trigger, problem },
  })
  log.warn({ model, trigger, problem }, 'a trigger cannot look')
}

export const reportReadable = (
  { store }: Pick<Deps, 'store'>,
  { model, trigger }: { model: string; trigger: string },
): Promise<void> => resolveAlert(store, keyOf(model, trigger))
