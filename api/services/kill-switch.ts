/**
 * Sets the kill switch of a model. Needs only Postgres and the replicas, because a switch that waited for a workflow would fail when
 * workflows are the problem.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError } from '../../domain/errors.ts'
import type { Flag } from '../../domain/serving/kill-switch.ts'
import { findChampion, findRollbackTarget } from '../../store/registry/champions.ts'
import { getModel } from '../../store/registry/models.ts'
import { findKillSwitch, issuesOfKillSwitch, writeKillSwitch } from '../../store/serving/kill-switches.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'

/** How long the caller waits for the replicas; the response names the late ones. */
const acknowledgeMs = 3_000
const pollMs = 20

/** Throws `model_not_found`, and `no_rollback_target` or `command_refused` for a fallback that the model does not have. */
export async function requireKillSwitch(
  store: CommandDeps['store'],
  { model: name, serve }: Pick<Flag, 'model' | 'serve'>,
): Promise<void> {
  const { name: model, definition } = await getModel(store, name)
  if (serve !== 'fallback') return
  const { fallback } = definition
  if (fallback === undefined)
    throw new DomainError('command_refused', `the file of ${model} declares no fallback`)
  const needsPrevious = fallback.kind === 'previous' && fallback.otherwise === undefined
  if (needsPrevious && !(await hasPrevious(store, model)))
    throw new DomainError('no_rollback_target', `${model} has no earlier known good version to fall back to`)
}

/** Sets the kill switch. Throws as `requireKillSwitch`, and `command_refused` when another revision is set. */
export async function setKillSwitch(
  { store, log }: Pick<CommandDeps, 'store' | 'log'>,
  actor: Actor,
  input: Pick<Flag, 'model' | 'serve' | 'reason'> & { revision?: number },
): Promise<{ flag: Flag; problems: string[] }> {
  await requireKillSwitch(store, input)
  const { model, serve, reason, revision } = input
  const flag = await writeKillSwitch(store, { model, serve, reason, actor: actor.name, revision })
  if (flag === undefined) {
    const now = await findKillSwitch(store, model)
    throw new DomainError(
      'command_refused',
      `the kill switch of ${model} has changed: ${now?.actor} has set ${now?.serve} at ${now?.at}`,
    )
  }
  const problems = await awaitSwitchOnReplicas(store, flag)
  log.warn({ model, serve, by: flag.actor, revision: flag.revision, problems }, 'kill switch set')
  return { flag, problems }
}

async function hasPrevious(store: CommandDeps['store'], model: string): Promise<boolean> {
  const champion = await findChampion(store, model)
  if (champion === undefined) return false
  return (await findRollbackTarget(store, { model, from: champion.version })) !== undefined
}

/** Waits for the live replicas, and returns those that do not follow the switch. */
async function awaitSwitchOnReplicas(store: CommandDeps['store'], flag: Flag): Promise<string[]> {
  const untilMs = performance.now() + acknowledgeMs
  for (;;) {
    const issues = await issuesOfKillSwitch(store, flag)
    if (!issues.some(({ isLive }) => isLive) || performance.now() > untilMs)
      return issues.map(({ text }) => text)
    await pause(pollMs)
  }
}
