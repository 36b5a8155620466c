/** Tests which files a process loads at its start, because every start pays for them. */
import { readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { build } from '../../../cli/build/build.mjs'
import { compiledFile } from '../../../cli/build/sources.mjs'
import { checkout } from '../../../temporal.config.ts'

/** Returns the compiled files that an entry loads at its start. */
async function loadedBy(entry: string): Promise<string[]> {
  const compiled = compiledFile(await build(checkout), entry)
  const found = new Map([[compiled, readFileSync(compiled, 'utf8')]])
  for (const [path, text] of found)
    for (const [, name] of text.matchAll(/^(?:import|\} from|import .* from) "(\.\/[^"]+)";$/gm)) {
      const imported = join(dirname(path), name!)
      if (!found.has(imported)) found.set(imported, readFileSync(imported, 'utf8'))
    }
  return [...found.values()]
}

it('the command line starts without packages, which may not be installed yet, and without node:http, which loads all of fetch', async () => {
  const texts = await loadedBy('cli/tenure.ts')
  expect(texts.length).toBeGreaterThan(3)
  const outside = texts.flatMap((text) =>
    [...text.matchAll(/ from "([^.][^"]*)";$|\brequire\("([^"]+)"\)/gm)].map(
      ([, from, required]) => from ?? required!,
    ),
  )
  expect(outside).toContain('node:fs')
  expect(outside.filter((name) => !isBuiltin(name) || /^(node:)?http$/.test(name))).toEqual([])
})
