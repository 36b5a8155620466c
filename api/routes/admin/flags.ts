/**
 * `/v1/flags`: the kill switch of a model. It needs Postgres and the replicas and nothing else: a switch that waited for a
 * workflow would not work on the day on which workflows are what is broken.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { flagNames, killSwitchModes, type Flag } from '../../../domain/serving/kill-switch.ts'
import { findChampion, findRollbackTarget } from '../../../store/registry/champions.ts'
import { issuesOfKillSwitch, listKillSwitches, writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { getModel } from '../../../store/registry/models.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireModelAccess, filterVisible } from '../../auth/authorization.ts'
import { toWire } from '../../http/schemas.ts'

/** How long the answer waits for the replicas; a replica that is cut off is named then. */
const acknowledgeMs = 3_000
const pollMs = 20

export const flagRoutes = ({ store, log }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/v1/flags',
    allow: viewers,
    summary: 'Lists the kill switches that were ever thrown, and which replicas do not do what they say.',
    answers: { 200: 'The switches' },
    async handle({ actor }) {
      const flags = filterVisible(actor, await listKillSwitches(store), ({ model }) => model)
      const listed = flags.map(async (flag) => ({
        ...wireOf(flag),
        problems: await issuesOfKillSwitch(store, flag),
      }))
      return { json: { flags: await Promise.all(listed) } }
    },
  }),
  defineRoute({
    method: 'put',
    path: '/v1/flags/:model',
    allow: operators,
    summary:
      'Throws the kill switch of a model: `champion` answers everybody with the champion, `fallback` with what its file declares, `refuse` answers nobody, `normal` goes back to the route.',
    answers: { 200: 'Every live replica does it, or it is said which do not' },
    body: z.strictObject({ serve: z.enum(flagNames), reason: z.string().min(1).max(2_000) }),
    async handle({ actor, params, body }) {
      const { name: model, definition } = await getModel(store, params['model']!)
      requireModelAccess(actor, model)
      const { serve, reason } = body
      if (serve === 'fallback') {
        if (definition.fallback === undefined)
          throw new DomainError('command_refused', `the file of ${model} declares no fallback`)
        const { fallback } = definition
        const needsPrevious = fallback.kind === 'previous' && fallback.otherwise === undefined
        if (needsPrevious && !(await hasPrevious(store, model)))
          throw new DomainError(
            'no_rollback_target',
            `${model} has no earlier proven version to fall back on`,
          )
      }
      const flag = await writeKillSwitch(store, { model, serve, reason, actor: actor!.name })
      const problems = await awaitReplicas(store, flag)
      log.warn({ model, serve, by: flag.actor, revision: flag.revision, problems }, 'flag set')
      return { json: { ...wireOf(flag), problems } }
    },
  }),
]

const wireOf = (flag: Flag) => toWire({ ...flag, means: killSwitchModes[flag.serve] })

async function hasPrevious(store: ApiDeps['store'], model: string): Promise<boolean> {
  const champion = await findChampion(store, model)
  return (
    champion !== undefined &&
    (await findRollbackTarget(store, { model, from: champion.version })) !== undefined
  )
}

/** Which live replicas do not do what the flag says, after a while. */
async function awaitReplicas(store: ApiDeps['store'], flag: Flag): Promise<string[]> {
  const until = performance.now() + acknowledgeMs
  for (;;) {
    const problems = await issuesOfKillSwitch(store, flag)
    if (problems.length === 0 || performance.now() > until) return problems
    await pause(pollMs)
  }
}
