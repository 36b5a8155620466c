import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageSources } from '../../cli/build/sources.mjs'
import { codeDigest } from '../../models/define/code-digest.ts'
import { loadModel, loadModels, modelsDirectory } from '../../models/index.ts'
import { checkout } from '../../temporal.config.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tenure-models-'))
})
afterAll(() => rm(directory, { recursive: true }))

const write = (file: string, text: string) => writeFile(join(directory, file), text)
const model = (name: string, more = '') => `
import { csv, defineModel, direct, number, quantity, random } from '${modelsDirectory}define.ts'
export const model = defineModel({
  name: '${name}', features: { size: number() }, label: quantity(), source: csv('a.csv'), split: random({ test: 0.5 }),
  evaluation: { floors: { rmse: 1 } }, release: direct(), train: () => Promise.reject(new Error()), ${more}
})`

describe('the model files', () => {
  it('of this project are found and valid', async () => {
    const { models, broken } = await loadModels()
    expect(broken).toEqual([])
    expect(models.map(({ name }) => name)).toEqual(['flight-delay', 'iris'])
  })

  it('are found without a list, and a broken one does not affect others', async () => {
    await write('peas.ts', model('peas'))
    await write('half.ts', 'export const half = {')
    await write('nothing.ts', 'export const nothing = 1')
    await write('other.ts', model('peas'))
    await write('wrong.ts', model('wrong', `seed: -1, golden: [{ size: 'big' as unknown as number }]`))
    await write('define.ts', 'throw new Error("never loaded")')
    const { models, broken } = await loadModels(directory)
    expect(models).toMatchObject([{ name: 'peas', definition: { name: 'peas', seed: 1 } }])
    expect(broken).toEqual([
      { file: 'half.ts', issues: [expect.stringMatching(/./)] },
      {
        file: 'nothing.ts',
        issues: [
          'exports: one model made with defineModel is required, not 0: write `export const nothing = defineModel({ … })`',
        ],
      },
      { file: 'other.ts', issues: ['name: "peas" must be in peas.ts, not in other.ts'] },
      {
        file: 'wrong.ts',
        issues: ['seed: a whole number from 0 is required, not -1', 'golden[0]: size is a finite number'],
      },
    ])
  })

  it('are loaded again after an edit', async () => {
    await write('edited.ts', model('edited'))
    const before = await loadModel('edited', directory)
    await write('edited.ts', model('edited', 'seed: 2'))
    const after = await loadModel('edited', directory)
    expect([before.definition.seed, after.definition.seed]).toEqual([1, 2])
    expect(after.codeDigest).not.toBe(before.codeDigest)
  })

  it('are found by a name, never by a path', async () => {
    await expect(loadModel('roses', directory)).rejects.toMatchObject({ code: 'model_not_found' })
    await expect(loadModel('../models/iris', directory)).rejects.toMatchObject({ code: 'model_not_found' })
    await expect(loadModel('wrong', directory)).rejects.toMatchObject({
      code: 'invalid_model_file',
      context: { issues: expect.arrayContaining([expect.stringContaining('seed')]) as unknown },
    })
  })
})

describe('the digest of code', () => {
  it('covers a file and its imports at any depth, and no other file', async () => {
    await write('a.ts', `import { b } from './b.ts'\nexport const a = b`)
    await write('b.ts', `export { c as b } from "./c.ts"`)
    await write('c.ts', 'export const c = 1')
    await write('d.ts', '')
    const before = await codeDigest(join(directory, 'a.ts'))
    await write('d.ts', 'export const d = 1')
    expect(await codeDigest(join(directory, 'a.ts'))).toBe(before)
    await write('c.ts', 'export const c = 2')
    expect(await codeDigest(join(directory, 'a.ts'))).not.toBe(before)
  })

  it.each([
    ['a comment', '// One.\nexport const one = 1 /* one */\n'],
    ['the layout', 'export const one =\n  1'],
    ['a type', 'type One = 1\nexport const one: One = 1'],
  ])('is unchanged by a change of %s', async (_, text) => {
    await write('one.ts', 'export const one = 1')
    const before = await codeDigest(join(directory, 'one.ts'))
    await write('one.ts', text)
    expect(await codeDigest(join(directory, 'one.ts'))).toBe(before)
  })

  it.each([
    ['a value', 'export const text = "// 2"'],
    ['the text of a query', 'export const text = `-- 1\nselect 1`'],
    ['a side-effect import', "import './d.ts'\nexport const text = '// 1'"],
  ])('changes with %s', async (_, text) => {
    await write('text.ts', "export const text = '// 1'")
    await write('d.ts', '')
    const before = await codeDigest(join(directory, 'text.ts'))
    await write('text.ts', text)
    expect(await codeDigest(join(directory, 'text.ts'))).not.toBe(before)
  })

  it('covers the sources of a package of Tenure', async () => {
    await write('own.ts', `import { auc } from '@tenure/sequential'\nexport const own = auc`)
    expect(await codeDigest(join(directory, 'own.ts'))).toMatch(/^sha256:/)
    await write('none.ts', `import { auc } from '@tenure/none'\nexport const none = auc`)
    await expect(codeDigest(join(directory, 'none.ts'))).rejects.toThrow('packages/none"')
  })

  it.each(Object.keys(packageSources(checkout)))('covers %s', async (name) => {
    await write('part.ts', `export * from '${name}'`)
    expect(await codeDigest(join(directory, 'part.ts'))).toMatch(/^sha256:/)
  })

  it('finds all that the trainer imports, parts of packages included', async () =>
    expect(await codeDigest(join(checkout, 'activities/tensorflow/trainer.ts'))).toMatch(/^sha256:/))

  it('is kept for the next process by the bytes of each file', async () => {
    const folder = join(checkout, 'dist/code')
    const own = join(directory, 'kept.ts')
    await write('kept.ts', `export const kept = '${randomUUID()}'`)
    /** In a module that has read no file yet. */
    const digestNow = async (instance: string): Promise<string> => {
      const path = `../../models/define/code-digest.ts?${instance}`
      const module = (await import(/* @vite-ignore */ path)) as { codeDigest: typeof codeDigest }
      return module.codeDigest(own)
    }
    const before = new Set(await readdir(folder).catch(() => []))
    const right = await digestNow('first')
    const [file, ...others] = (await readdir(folder)).filter((name) => !before.has(name))
    expect(others).toEqual([])
    await writeFile(join(folder, file!), JSON.stringify({ digest: 'of an earlier process', specifiers: [] }))
    expect(await digestNow('second')).not.toBe(right)
    await writeFile(join(folder, file!), '{"digest":')
    expect(await digestNow('third')).toBe(right)
    await rm(join(folder, file!))
  })
})
