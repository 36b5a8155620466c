/** Reads the pages of the package and runs code beside them. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const readPage = (name: string): string => readFileSync(join(root, name), 'utf8')

/** The blocks of a page, such as of `js` or `text`. */
export const blocksOf = (page: string, language: string): string[] =>
  [...readPage(page).matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(([, text]) => text!)

/** Runs Node and returns what it prints. */
export async function run(args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd })
  return stdout
}
