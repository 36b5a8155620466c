/** Tests which files a process loads at its start, because every start pays for them. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { compileEntry } from '../../../cli/build/compile.mjs'
import { groups } from '../../../cli/build/entries.mjs'
import { findCompiled } from '../../../cli/build/manifest.mjs'
import { checkout } from '../../../temporal.config.ts'

/** Returns the compiled files that an entry loads at its start. */
async function loadedBy(entry: string): Promise<string[]> {
  const compiled = findCompiled(checkout, entry) ?? (await compileEntry(checkout, entry))
  const found = new Map([[compiled, readFileSync(compiled, 'utf8')]])
  for (const [path, text] of found)
    for (const [, name] of text.matchAll(/^(?:import|\} from|import .* from) "(\.\/[^"]+)";$/gm)) {
      const imported = join(dirname(path), name!)
      if (!found.has(imported)) found.set(imported, readFileSync(imported, 'utf8'))
    }
  return [...found.values()]
}

it('the command line loads the messages of Temporal only for the commands that need them', async () => {
  const texts = await loadedBy('cli/tenure.ts')
  expect(texts.length).toBeGreaterThan(3)
  expect(texts.filter((text) => /^\/\/ node_modules\/@temporalio\/(proto|client)\//m.test(text))).toEqual([])
})

it('no process imports node:http, for whose exports Node loads all of fetch', async () => {
  for (const entry of groups.flatMap(({ entries }) => entries))
    for (const text of await loadedBy(entry)) expect(text).not.toMatch(/ from "(?:node:)?http";$/m)
})

it('a training and an evaluation have TensorFlow and DuckDB compiled in, except for the native code', async () => {
  for (const entry of ['activities/tensorflow/trainer.ts', 'activities/tensorflow/evaluator.ts']) {
    const text = (await loadedBy(entry)).join('\n')
    const loaded = [...text.matchAll(/\("(@(?:tensorflow|mapbox|duckdb)\/[^"]+)"\)/g)].map(([, name]) => name)
    expect([...new Set(loaded)]).toEqual(['@duckdb/node-bindings'])
    for (const file of ['@tensorflow/tfjs-node/dist/index.js', '@duckdb/node-api/lib/index.js'])
      expect(text).toContain(`// node_modules/${file}`)
  }
})
