/** Tests that the schedules of feature views belong to one definition each. */
import type { Client } from '@temporalio/client'
import { expect, it } from 'vitest'
import { applyModelSchedules } from '../../workflows/client/model-schedules.ts'
import { csv, number, view } from '../../models/define.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'

const delays = (file: string, every: '5 min' | '30 d') =>
  view('delays', {
    entity: 'origin',
    source: csv(file, { eventTime: 'at' }),
    knownAt: 'known',
    values: { mean: number() },
    timeToLive: '1 d',
    every,
  }).definition

it('two queries of one name have a schedule each, and one model moves only its own', async () => {
  const everyMs = new Map<string, number | undefined>()
  const schedule = {
    create: ({ scheduleId, spec }: { scheduleId: string; spec: { intervals?: { every: number }[] } }) => {
      everyMs.set(scheduleId, spec.intervals?.[0]?.every)
      return Promise.resolve()
    },
    getHandle: () => ({
      delete: () => Promise.resolve(),
      describe: () => Promise.resolve({ state: { paused: false } }),
    }),
  }
  const workflow = {
    start: () => Promise.resolve(),
    getHandle: () => ({ describe: () => Promise.resolve({ status: { name: 'RUNNING' } }) }),
  }
  const client = { schedule, workflow } as unknown as Client
  const [own, other] = [delays('data/own.csv', '5 min'), delays('data/other.csv', '30 d')]
  for (const [name, each] of [
    ['viewa', own],
    ['viewb', other],
  ] as const)
    await applyModelSchedules(client, {
      before: undefined,
      definition: { name, views: [each], release: {}, triggers: [] } as unknown as ModelDefinition,
      taskQueue: 'control',
    })
  const ids = [...everyMs.keys()].filter((id) => id.startsWith('materialise/delays/'))
  expect(ids).toHaveLength(2)
  expect(ids.map((id) => everyMs.get(id))).toEqual([300_000, 30 * 86_400_000])
})
