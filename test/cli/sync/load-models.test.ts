/** Tests that no model file can hang or end a command. */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadModelsInChild } from '../../../cli/sync/load-models.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'

let directory: string
beforeAll(async () => {
  directory = await exampleModelDirectory()
  const iris = `export { iris } from '${modelsDirectory}iris.ts'\n`
  const files = {
    'ends.ts': 'process.exit(3)\n',
    'hangs.ts': 'for (;;) {}\n',
    'iris.ts': iris,
    'throws.ts': `throw new Error('no soil')\n`,
    'waits.ts': 'await new Promise(() => {})\nexport {}\n',
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text)
})
afterAll(() => rm(directory, { recursive: true }))

it('model files that hang, wait for ever or end their process are named, and the others are loaded', async () => {
  const { models, broken } = await loadModelsInChild({ directory, limitMs: 4_000 })
  expect(models).toMatchObject([{ name: 'iris', definition: { name: 'iris' } }])
  expect(broken).toEqual([
    { file: 'ends.ts', issues: ['it ended the process that loaded it (exit code 3): remove `process.exit`'] },
    { file: 'hangs.ts', issues: [expect.stringMatching(/^it was not loaded within 4 s: an endless loop/)] },
    { file: 'throws.ts', issues: ['no soil'] },
    { file: 'waits.ts', issues: [expect.stringMatching(/^it was not loaded within 4 s: an endless loop/)] },
  ])
})
