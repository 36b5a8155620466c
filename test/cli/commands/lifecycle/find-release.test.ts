/** Tests which release the arguments of a command identify. */
import { expect, it } from 'vitest'
import type { Client } from '../../../../cli/client/client.ts'
import { findReleaseId } from '../../../../cli/commands/lifecycle/release-commands.ts'

const releases = [
  { id: 'rel_3', version: 'flight-delay_v1.1.0' },
  { id: 'rel_2', version: 'flight-delay_v1.2.0' },
  { id: 'rel_1', version: 'flight-delay_v1.2.0' },
]
/** A model that is released each day. */
const daily = Array.from({ length: 130 }, (_, i) => ({ id: `rel_d${i}`, version: `daily_v1.${130 - i}.0` }))
const retraining = { id: 'retrain/refused/1', outcome: 'not_better', message: 'auc 0.5 misses its floor' }
const asked: unknown[] = []
const client = {
  get: (path: string, query: { model: string; limit?: number }) => {
    if (path === '/v1/retrainings')
      return Promise.resolve({ retrainings: query.model === 'refused' ? [retraining] : [] })
    if (path.startsWith('/v1/models/'))
      return path.endsWith('/other') ? Promise.resolve({}) : Promise.reject(new Error('model_not_found'))
    asked.push(query.model)
    const ofModel = query.model === 'flight-delay' ? releases : query.model === 'daily' ? daily : []
    return Promise.resolve({ releases: ofModel.slice(0, query.limit ?? 100) })
  },
} as unknown as Client

it.each([
  ['rel_9', 'rel_9'],
  ['flight-delay', 'rel_3'],
  ['flight-delay_v1.2.0', 'rel_2'],
  ['flight-delay_v9.0.0', 'flight-delay_v9.0.0'],
  ['daily_v1.5.0', 'rel_d125'],
])('%s is %s', async (named, id) => expect(await findReleaseId(client, named)).toBe(id))

it('a model without a release names what its last retraining led to', async () => {
  await expect(findReleaseId(client, 'refused')).rejects.toMatchObject({
    problem: {
      code: 'release_not_found',
      detail:
        'refused has had no release; its last retraining (retrain/refused/1) ended: auc 0.5 misses its floor',
      remedy: expect.stringContaining('tenure retrainings show refused') as unknown,
    },
  })
  asked.pop()
})

it.each([
  ['other', { problem: { code: 'release_not_found', detail: 'other has had no release and no retraining' } }],
  ['othr', { message: 'model_not_found' }],
])('%s, of which there is no release, is told as such', async (named, problem) => {
  await expect(findReleaseId(client, named)).rejects.toMatchObject(problem)
})

it('requests only the releases of the model', () =>
  expect(asked).toEqual(['flight-delay', 'flight-delay', 'flight-delay', 'daily', 'other', 'othr']))
