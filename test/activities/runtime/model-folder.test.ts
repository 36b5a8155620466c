/** Tests that files which were sent run only where they define what was approved with them, in both languages. */
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { loadFiles, withModelFolder } from '../../../activities/runtime/model-folder.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { makeModel } from '../../../models/define/printed-model.ts'
import * as vocabulary from '../../../models/define.ts'
import { digestOf } from '../../../store/artifacts.ts'
import {
  findWaitingFiles,
  markApproved,
  packModelFiles,
  printedEntry,
  putModelFiles,
} from '../../../store/registry/model-files.ts'
import { upsertModels } from '../../../store/registry/models.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { inActivity } from '../../support/in-activity.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
let model: string
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(() => {
  model = uniqueName('roses')
})

const languages = {
  ts: (name: string) => `import { csv, defineModel, direct, number, quantity, random } from 'tenure'
export const model = defineModel({
  name: '${name}', features: { length: number() }, label: quantity({ column: 'width' }), source: csv('data/roses.csv'),
  split: random({ test: 0.3 }), train: ({ tf }) => tf.sequential(), evaluation: { floors: { rmse: 5 } }, release: direct(),
})
`,
  py: (name: string) => `from tenure import csv, define_model, direct, number, quantity, random
def train(job):
    pass
define_model(
    name="${name}", features={"length": number()}, label=quantity(column="width"), source=csv("data/roses.csv"),
    split=random(test=0.3), train=train, evaluation={"floors": {"rmse": 5}}, release=direct(),
)
`,
}
type Language = keyof typeof languages

const said = (word: string, ...given: unknown[]) => ({ $word: word, arguments: given })
/** What the files define, as data. */
const defined = (language: Language) => ({
  name: model,
  features: { length: said('number') },
  label: said('quantity', { column: 'width' }),
  source: said('csv', 'data/roses.csv'),
  split: said('random', { test: 0.3 }),
  train: language === 'ts' ? said('Function') : said('python', `${model}.py`),
  evaluation: { floors: { rmse: 5 } },
  release: said('direct'),
})

async function put(
  language: Language,
  data: object,
  state: 'applied' | 'waiting',
  text = languages[language](model),
) {
  const file = `${model}.${language}`
  const hidden = Buffer.from('{"code": "which the diff does not show"}')
  const archive = packModelFiles(
    new Map([
      [file, Buffer.from(text)],
      [printedEntry, hidden],
    ]),
  )
  const { definition } = makeModel(file, { model: data as Record<string, unknown>, issues: [] }, vocabulary)
  const [digest, codeDigest] = [digestOf(archive), 'sha256:code']
  const sent = { model, digest, archive, definition: definition as ModelDefinition, codeDigest, files: {} }
  await putModelFiles(deps.store, { ...sent, sentBy: 'leo', state })
  return { file, definition, digest, codeDigest }
}

/** Has files approved with this data. Returns whether they run. */
async function runs(language: Language, data: object): Promise<boolean> {
  const { file, definition, digest, codeDigest } = await put(language, data, 'applied')
  await upsertModels(deps.store, [{ name: model, definition, codeDigest, filesDigest: digest }])
  let ran = false
  const work = async (folder: string) => {
    expect(readdirSync(folder)).toEqual([file])
    ran = true
  }
  return inActivity(() => withModelFolder(deps, { model }, work)).then(
    () => ran,
    (error: unknown) => {
      expect(error).toMatchObject({
        code: 'training_failed',
        message: expect.stringMatching(/than what was approved with them/),
      })
      return ran
    },
  )
}

const both = Object.keys(languages) as Language[]

it.each(both)(
  'files in %s run where they define what was approved, also after a change of a setting',
  async (language) => {
    expect(await runs(language, defined(language))).toBe(true)
    expect(await runs(language, { ...defined(language), evaluation: { floors: { rmse: 4 } } })).toBe(true)
  },
)

const forged: Record<string, object> = {
  source: { source: said('csv', 'data/salaries.csv') },
  features: { features: { length: said('number'), height: said('number') } },
  label: { label: said('quantity', { column: 'salary' }) },
  split: { split: said('random', { test: 0.5 }) },
  seed: { seed: 2 },
  slices: { evaluation: { floors: { rmse: 5 }, slices: [{ name: 'all', where: 'true' }] } },
}
it.each(both.flatMap((language) => Object.keys(forged).map((part) => [language, part] as const)))(
  'files in %s with another %s than what was approved with them do not run',
  async (language, part) =>
    expect(await runs(language, { ...defined(language), ...forged[part] })).toBe(false),
)

it('a worker without Python leaves files in Python to the one that trains, and loads those in TypeScript', async () => {
  vi.stubEnv('PATH', '/nowhere')
  try {
    for (const language of both) {
      model = uniqueName('roses')
      await put(language, { ...defined(language), seed: 2 }, 'waiting')
      await markApproved(deps.store, {
        model,
        digest: (await findWaitingFiles(deps.store, model))!.digest,
        by: 'ada',
      })
      const { issue } = await inActivity(() => loadFiles(deps)({ model }))
      expect(issue === undefined).toBe(language === 'py')
    }
  } finally {
    vi.unstubAllEnvs()
  }
})

it('files that a busy worker has not loaded in time are not rejected', async () => {
  await put('ts', defined('ts'), 'waiting', `${languages.ts(model)}\nwhile (true);\n`)
  await markApproved(deps.store, {
    model,
    digest: (await findWaitingFiles(deps.store, model))!.digest,
    by: 'ada',
  })
  await expect(inActivity(() => loadFiles(deps, 5_000)({ model }))).rejects.toMatchObject({
    code: 'training_interrupted',
    context: { isSilent: true },
  })
})
