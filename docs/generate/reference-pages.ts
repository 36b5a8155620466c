/** Writes the pages of docs/reference from the code; with `--check`, reports the pages that differ. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../temporal.config.ts'
import { differing, makePages } from './pages/pages.ts'

const directory = join(checkout, 'docs', 'reference')
const pages = await makePages()
const stale = differing(pages, directory)
if (stale.length === 0) console.log('docs/reference says what the code says')
else if (process.argv.includes('--check')) {
  console.error(`docs/reference: ${stale.join(', ')} differ from the code; \`npm run docs\` writes them`)
  process.exitCode = 1
} else {
  mkdirSync(directory, { recursive: true })
  for (const name of stale) writeFileSync(join(directory, name), pages.get(name) ?? '')
  console.log(`docs/reference: ${stale.join(', ')} written`)
}
