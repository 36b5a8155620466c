/** Tests that a command which uses a stored model warns when the project's model file differs from it. */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Client } from '../../../cli/client/client.ts'
import { hintOfChangedFile, hintOfFirstVersion } from '../../../cli/sync/changed-file.ts'
import { loadModel } from '../../../models/index.ts'
import { digestOfJson } from '../../../store/artifacts.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'
import { modelFile } from './bad-model-files.ts'

let directory: string
beforeAll(async () => {
  directory = await exampleModelDirectory()
  await writeFile(join(directory, 'roses.ts'), modelFile('roses'))
  await writeFile(join(directory, 'torn.ts'), `${modelFile('torn')}}`)
})
afterAll(() => rm(directory, { recursive: true }))

/** Serves an API whose model has this digest. */
const storing = (digest: string | undefined) =>
  ({ get: () => Promise.resolve({ definition_digest: digest }) }) as unknown as Client

it('a model file that equals the stored model needs no hint, also where its text has changed', async () => {
  const stored = digestOfJson((await loadModel('roses', directory)).definition)
  expect(await hintOfChangedFile(storing(stored), 'roses', directory)).toBeUndefined()
  await writeFile(join(directory, 'roses.ts'), `// a comment\n${modelFile('roses')}`)
  expect(await hintOfChangedFile(storing(stored), 'roses', directory)).toBeUndefined()
})

it('an edited model file is named with the command that applies it', async () =>
  expect(await hintOfChangedFile(storing('sha256:other'), 'roses', directory)).toBe(
    'models/roses.ts has changed since it was synced, and the model is used as it was then: run `tenure models sync`, then repeat this command.',
  ))

it('a model file that is no longer valid is named with its first issue', async () =>
  expect(await hintOfChangedFile(storing('sha256:other'), 'torn', directory)).toMatch(
    /^models\/torn\.ts is invalid, so the model is used as it was synced before: .+/,
  ))

it.each([
  ['the project has no such file', storing('sha256:other'), 'elsewhere'],
  ['the API does not tell a digest', storing(undefined), 'roses'],
  ['the API does not answer', { get: () => Promise.reject(new Error('gone')) } as unknown as Client, 'roses'],
])('there is no hint where %s', async (_, api, model) =>
  expect(await hintOfChangedFile(api, model, directory)).toBeUndefined(),
)

it('a first version that no approver is asked about is told when it is started', async () => {
  const of = (model: object) =>
    hintOfFirstVersion({ get: () => Promise.resolve(model) } as unknown as Client, 'roses')
  const free = { release_policy: { approval: { approvers: 0 } } }
  expect(await of(free)).toMatch(
    /^The first version of roses needs an approval, .* an operator must release it/,
  )
  expect(await of({ ...free, champion: { version: 'roses_v1.0.0' } })).toBeUndefined()
  expect(await of({ release_policy: { approval: { approvers: 1 } } })).toBeUndefined()
  expect(await of({})).toBeUndefined()
})
