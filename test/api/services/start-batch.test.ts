/** Tests whose files a batch may name. */
import { expect, it } from 'vitest'
import type { Actor } from '../../../api/auth/authentication.ts'
import type { CommandDeps } from '../../../api/deps.ts'
import { startBatch } from '../../../api/services/start-batch.ts'

const store = { query: () => Promise.resolve([{ name: 'fast', definition: {} }]) }
const deps = { store } as unknown as CommandDeps
const olga = { id: 'k', name: 'olga', role: 'operator', models: new Set(['fast']) } as Actor
const file = (path: string) => ({ kind: 'file', path }) as const
const order = {
  model: 'fast',
  input: file('fast/rows.parquet'),
  output: file('fast/answers.parquet'),
  key: ['id'],
}

it.each([{ input: file('iris/rows.parquet') }, { output: file('iris/answers.parquet') }])(
  'of a file outside of the folder of the model is refused to a key of some models: %j',
  async (given) => {
    const started = startBatch.run(deps, olga, { ...order, ...given }, { id: '1' })
    await expect(started).rejects.toMatchObject({ code: 'forbidden' })
  },
)
