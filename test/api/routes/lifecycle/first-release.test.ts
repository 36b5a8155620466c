/**
 * Tests that each command for the champion, the release or the version of a model that has none names the next command, on a real API and a
 * real database. The next command depends on how far the model is.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { openingState } from '../../../../domain/release/state.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { listenFor } from '../../../support/serving/api-address.ts'
import { answerCommand, runCommand } from '../../../support/command-line.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../../support/release/releases.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let address: Awaited<ReturnType<typeof listenFor>>
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  api = await startApi(fixture)
  address = await listenFor(api)
})
afterAll(async () => {
  address?.close()
  await api?.stop()
  await fixture?.close()
})

const newModel = () =>
  insertModel(fixture.store, {
    model: uniqueName('model'),
    policy: releasePolicy,
    artifactRoot: fixture.artifactRoot,
  })

async function releasing(stage: 'qualifying' | 'awaiting_approval') {
  const { model, register } = await newModel()
  const version = await register()
  const id = `rel_${uniqueName('r')}` as const
  const state = { ...openingState({ ...firstFacts, id, model, version }, 0), stage }
  await insertRelease(fixture.store, { state, workflowId: 'w', runId: 'r' })
  return { model, version, id }
}

/** How far a model without a champion is → the model, and the sentence with its next command. */
const states: Record<string, () => Promise<{ model: string; step: string }>> = {
  'no version': async () => {
    const { model } = await newModel()
    return { model, step: `Train and release a version: \`tenure retrain ${model} --watch\`.` }
  },
  'no version, and no training': async () => {
    const { model } = await newModel()
    await fixture.store.query(
      sql`update models set definition = definition || '{"isBrought": true}' where name = ${model}`,
    )
    return {
      model,
      step: `Bring a version to release: \`tenure versions register ${model} --artifact FILE\`.`,
    }
  },
  'a version without a release': async () => {
    const { model, register } = await newModel()
    await register()
    return { model, step: `Release the latest version: \`tenure releases start ${await register()}\`.` }
  },
  'a release that has failed': async () => {
    const { model, version, id } = await releasing('qualifying')
    await fixture.store.query(
      sql`update releases set stage = 'ended', outcome = 'failed', ended_at = now() where id = ${id}`,
    )
    const again = `start it again: \`tenure releases start ${version}\`.`
    return {
      model,
      step: `Read why the release of ${version} ended: \`tenure releases show ${id}\`; then bring or train another version, or ${again}`,
    }
  },
  'a release that qualifies': async () => {
    const { model, version, id } = await releasing('qualifying')
    return { model, step: `Follow the release of ${version} to its end: \`tenure releases watch ${id}\`.` }
  },
  'a release that needs approval': async () => {
    const { model, version, id } = await releasing('awaiting_approval')
    return { model, step: `Approve the release of ${version}: \`tenure approve ${id}\`.` }
  },
}

const forChampion: ((model: string) => string[])[] = [
  (model) => ['rollback', model, '--yes'],
  (model) => ['drills', 'run', model],
  (model) => ['batch', 'run', model, '--query', 'select 1 as x'],
  (model) => ['explain', model, '{}'],
  (model) => ['export', model, '/nowhere'],
  (model) => ['versions', 'card', model],
  (model) => ['versions', 'compare', `${model}@champion`, `${model}@champion`],
  (model) => ['compress', model, '--to', 'int8'],
]
const forVersion: typeof forChampion = [
  (model) => ['versions', 'card', `${model}@latest`],
  (model) => ['versions', 'compare', `${model}@latest`, `${model}@latest`],
]
const forRelease: typeof forChampion = [
  (model) => ['approve', model],
  (model) => ['abort', model],
  (model) => ['releases', 'watch', model],
]

const run = async (words: string[]) => {
  vi.stubEnv('TENURE_KEY', key)
  return runCommand(commands, [...words, '--url', address.url])
}

describe.each(Object.entries(states))('a model with %s', (state, made) => {
  const asked = [
    ...forChampion,
    ...(state.startsWith('no version') ? [...forVersion, ...forRelease] : []),
  ].map((wordsOf) => [wordsOf('<model>').join(' '), wordsOf] as const)
  it.each(asked)('is told its next command by `tenure %s`', async (_, wordsOf) => {
    const { model, step } = await made()
    const { code, err } = await run(wordsOf(model))
    expect(err).toContain(step)
    expect(code).not.toBe(exitCodes.done)
  })

  it('is told its next command by the API', async () => {
    const { model, step } = await made()
    const ask = (path: string) => api.request('GET', `/v1/models/${model}${path}`, { key })
    expect((await ask('')).json['first_step']).toBe(step)
    for (const path of ['/champion', '/feature-counts'])
      expect((await ask(path)).json, path).toMatchObject({ remedy: step })
  })
})

it('a rollback of a model without a champion asks nothing', async () => {
  vi.stubEnv('TENURE_KEY', key)
  const { model } = await newModel()
  expect(await answerCommand(commands, ['rollback', model, '--url', address.url], [])).toEqual([])
})
