/**
 * Reads the project's files and parses each once. Rules inspect the syntax tree, so that a word in a comment or a message is not a
 * violation.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { parseSync, type Node } from 'oxc-parser'
import { checkout } from '../../temporal.config.ts'
import type { Import } from './layers.ts'

export interface Source {
  /** Relative to the checkout. */
  path: string
  text: string
  imports: Import[]
  /** Whether the file re-exports from another file. */
  reexports: boolean
  nodes: Node[]
}

/** Returns every TypeScript and JavaScript file that is committed or not ignored and whose text mentions `word`. */
export function readSources(word = ''): Source[] {
  return read('*.ts', '*.tsx', '*.mjs')
    .filter(({ path, text }) => !path.endsWith('.d.ts') && text.includes(word))
    .map(({ path, text }) => parseSource(path, text))
}

/** Returns every file that people read: sources, SQL and pages. */
export function readTexts(): { path: string; text: string }[] {
  return read('*.ts', '*.tsx', '*.mjs', '*.js', '*.css', '*.html', '*.sql', '*.md', '*.yml', '*.yaml')
}

function read(...patterns: string[]): { path: string; text: string }[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', ...patterns], {
    cwd: checkout,
    encoding: 'utf8',
  })
  const paths = [...new Set(listed.split('\n'))].filter((path) => path !== '').sort()
  return paths.flatMap((path) => {
    const text = readIfThere(join(checkout, path))
    return text === undefined ? [] : [{ path, text }]
  })
}

/** Parses one file. Throws when it is not TypeScript. */
export function parseSource(path: string, text: string): Source {
  const { program, module, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  const imported = module.staticImports.map((each) => ({
    specifier: each.moduleRequest.value,
    typeOnly: each.entries.length > 0 && each.entries.every((entry) => entry.isType),
  }))
  const passedOn = module.staticExports.flatMap((each) =>
    each.entries.flatMap((entry) =>
      entry.moduleRequest ? [{ specifier: entry.moduleRequest.value, typeOnly: entry.isType }] : [],
    ),
  )
  const loaded = module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
    const specifier = /^(['"])(.*)\1$/.exec(text.slice(start, end))?.[2]
    return specifier === undefined ? [] : [{ specifier, typeOnly: false, isLate: true }]
  })
  return {
    path,
    text,
    imports: [...imported, ...passedOn, ...loaded].map((each) => importOf(path, each)),
    reexports: passedOn.length > 0,
    nodes: allNodes(program),
  }
}

function importOf(
  from: string,
  { specifier, typeOnly, isLate = false }: { specifier: string; typeOnly: boolean; isLate?: boolean },
): Import {
  const inside = specifier.startsWith('.')
  const to = inside ? normalize(join(dirname(from), specifier)) : packageOf(specifier)
  return { from, to, inside, typeOnly, isLate }
}

/** Maps `@scope/name/part` to `@scope/name`; Node's modules keep their prefix, and packages of this repository their parts. */
function packageOf(specifier: string): string {
  if (/^(node:|@tenure\/)/.test(specifier)) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function allNodes(root: unknown): Node[] {
  const found: Node[] = []
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (typeof value !== 'object' || value === null) return
    if ('type' in value && typeof value.type === 'string') found.push(value as Node)
    for (const [name, child] of Object.entries(value)) if (name !== 'parent') visit(child)
  }
  visit(root)
  return found
}

/** Returns undefined for a listed file that is deleted in the working tree. */
function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
