/** Reads the pages of the package and runs code beside them. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const readPage = (name: string): string => readFileSync(join(root, name), 'utf8')

/** The JavaScript blocks of a page, each with the output that the page shows below it, if it shows one. */
export function codeOf(page: string): { code: string; output?: string }[] {
  const blocks = [...readPage(page).matchAll(/```(\w+)\n([^]*?)```/g)].map(([, language, text]) => ({
    language,
    text: text!,
  }))
  return blocks.flatMap(({ language, text }, i) => {
    const next = blocks[i + 1]
    if (language !== 'js') return []
    return [{ code: text, ...(next?.language === 'text' && { output: next.text }) }]
  })
}

/** Runs Node and returns what it prints. */
export async function run(args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd })
  return stdout
}
