/**
 * Writes the pages of docs/reference and the vocabulary of the Python package from the code; with `--check`, reports the files that differ.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../temporal.config.ts'
import { differing, makePages } from './pages/pages.ts'
import { pythonWords } from './python/words.ts'

const folders: [folder: string, pages: ReadonlyMap<string, string>][] = [
  ['docs/reference', await makePages()],
  ['packages/python/src/tenure', new Map([['_words.py', pythonWords()]])],
]
for (const [folder, pages] of folders) {
  const directory = join(checkout, folder)
  const stale = differing(pages, directory)
  if (stale.length === 0) console.log(`${folder} says what the code says`)
  else if (process.argv.includes('--check')) {
    console.error(`${folder}: ${stale.join(', ')} differ from the code; \`npm run docs\` writes them`)
    process.exitCode = 1
  } else {
    mkdirSync(directory, { recursive: true })
    for (const name of stale) writeFileSync(join(directory, name), pages.get(name) ?? '')
    console.log(`${folder}: ${stale.join(', ')} written`)
  }
}
