/** `/v1/kill-switches`: lists and sets the kill switches of models. */
import { z } from 'zod'
import { flagNames, killSwitchModes, killSwitchRow, type Flag } from '../../../domain/serving/kill-switch.ts'
import * as schema from '../../../domain/schema.ts'
import { issuesOfKillSwitch, listKillSwitches } from '../../../store/serving/kill-switches.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { toWire, writtenReason } from '../../http/schemas.ts'
import { setKillSwitch } from '../../services/kill-switch.ts'

const killSwitch = schema.extend(killSwitchRow, { means: schema.text, problems: schema.list(schema.text) })

export const killSwitchRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/kill-switches', viewers, {
    summary: 'List kill switches, with the replicas that lag behind.',
    answers: { 200: 'The kill switches' },
    answerSchema: schema.record({ killSwitches: schema.list(killSwitch) }),
    async handle() {
      const flags = await listKillSwitches(deps.store)
      const listed = flags.map(async (flag) => ({
        ...wireOf(flag),
        problems: (await issuesOfKillSwitch(deps.store, flag)).map(({ text }) => text),
      }))
      return { json: { kill_switches: await Promise.all(listed) } }
    },
  }),
  defineRoute('put', '/v1/kill-switches/:model', operators, {
    summary:
      'Set the kill switch of a model: `champion` serves the champion to all traffic, `fallback` the declared fallback, `refuse` rejects requests, `normal` follows the route. With `revision`, the one that the caller has seen (0 for none), a switch that was changed meanwhile stays.',
    answers: { 200: 'The switch, with the live replicas that lag behind' },
    answerSchema: killSwitch,
    body: z.strictObject({
      serve: z.enum(flagNames),
      reason: writtenReason,
      /** The revision that the caller has seen. A kill switch with another revision stays unchanged. */
      revision: z.number().int().min(0).optional(),
    }),
    async handle({ actor, params, body }) {
      const { flag, problems } = await setKillSwitch(deps, actor!, { model: params['model']!, ...body })
      return { json: { ...wireOf(flag), problems } }
    },
  }),
]

const wireOf = (flag: Flag) => toWire({ ...flag, means: killSwitchModes[flag.serve] })
