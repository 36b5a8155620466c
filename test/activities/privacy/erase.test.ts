/** Tests how many activities of a worker erasures take, without servers. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { eraseStage } from '../../../activities/privacy/erase.ts'

it('erasures take a fifth of the activities of a worker, and further ones are tried again later', async () => {
  let answer = (_rows: object[]): void => {}
  const query = () => new Promise<object[]>((resolve) => (answer = resolve))
  const stage = eraseStage({ config: { worker: { maxActivities: 5 } }, store: { query } } as unknown as Deps)
  const run = (id: string) => new MockActivityEnvironment().run(stage, { id })
  const first = run('era_1')
  await expect(run('era_2')).rejects.toMatchObject({
    type: 'postponed',
    nonRetryable: false,
    nextRetryDelay: expect.any(Number),
  })
  answer([{ stage: 'done' }])
  expect(await first).toBe('done')
  const next = run('era_2')
  answer([{ stage: 'done' }])
  expect(await next).toBe('done')
})
