/** Raises and resolves the alerts of triggers and batches of a model file. Open alerts are read once per check. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { partitionAlertKey, triggerAlertKey } from '../../domain/triggers/trigger.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Deps } from '../deps.ts'

/** The keys of the open alerts. */
export type OpenTriggerAlerts = ReadonlySet<string>

export const findOpenTriggerAlerts = async (
  { store }: Pick<Deps, 'store'>,
  model: string,
): Promise<OpenTriggerAlerts> =>
  new Set(await listOpenAlertKeys(store, ['trigger_unreadable', 'partition_failed'], { model }))

/** Resolves an alert when its problem is gone. Does nothing when the alert is not open. */
export async function resolveIfOpen(
  { store }: Pick<Deps, 'store'>,
  open: OpenTriggerAlerts,
  key: string,
): Promise<void> {
  if (open.has(key)) await resolveAlert(store, key, 'the last look has found it in order')
}

/** Resolves the alerts of triggers and batches that the model file no longer declares. */
export async function resolveLeftAlerts(
  deps: Pick<Deps, 'store'>,
  open: OpenTriggerAlerts,
  { name, triggers = [], batches = [] }: Pick<ModelDefinition, 'name' | 'triggers' | 'batches'>,
): Promise<void> {
  const declared = new Set([
    ...[...triggers, ...batches, ...batches.flatMap((each) => each.triggers ?? [])].map((each) =>
      triggerAlertKey(name, each.name),
    ),
    ...batches.map((each) => partitionAlertKey(name, each.name)),
  ])
  for (const key of open)
    if (!declared.has(key)) await resolveAlert(deps.store, key, 'the model file declares it no longer')
}

/** Logs the problem once, when its alert opens: a missing folder is looked for again and again. */
export async function reportUnreadable(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  open: OpenTriggerAlerts,
  { model, trigger, problem }: { model: string; trigger: string; problem: string },
): Promise<void> {
  const dedupeKey = triggerAlertKey(model, trigger)
  await upsertAlert(store, {
    dedupeKey,
    model,
    severity: 'warning',
    kind: 'trigger_unreadable',
    cause: problem,
    message: `The trigger ${trigger} of ${model} cannot look at what it waits for: ${problem}`,
    evidence: { trigger, problem },
  })
  if (!open.has(dedupeKey)) log.warn({ model, trigger, problem }, 'a trigger cannot look')
}
