/** Chooses the tests that a change can reach: over imports, and over strings that name a file to start or read. */
import { dirname, join, normalize, relative } from 'node:path'
import { parseSync } from 'oxc-parser'
import { packageSources } from '../../cli/build/sources.mjs'
import { checkout } from '../../temporal.config.ts'

/** File → the files that import or name it. */
export type Users = ReadonlyMap<string, readonly string[]>

export interface Choice {
  run: string[]
  /** How many test files are left out, by the reason. */
  leftOut: Readonly<Record<string, number>>
}

/** What a test may depend on without naming it. */
const everywhere =
  /^(package(-lock)?\.json|(vitest|temporal)\.config\.ts|tsconfig\.json|migrations\/.*|test\/support\/(global-setup\.ts|test-process\.mjs))$/
/** Tests that list the files of the tree themselves. */
const ofTheTree = /^test\/(tidy|tiers|docs\/links)\.test\.ts$/
const isTest = (path: string) => path.endsWith('.test.ts')
const packageOf = (path: string) => /^packages\/[^/]+\//.exec(path)?.[0]

/**
 * A change within a package reaches the package, its users among packages, and of the product the files that import the package with the
 * tests that import these: what lies behind them knows the package by its answers, which its own tests prove.
 */
export function testsOf(changed: readonly string[], tests: readonly string[], users: Users): Choice {
  if (changed.some((path) => everywhere.test(path))) return { run: [...tests], leftOut: {} }
  const reached = new Set([...changed, ...tests.filter((path) => ofTheTree.test(path))])
  const borders = new Set<string>()
  for (const path of reached)
    for (const user of users.get(path) ?? []) {
      const isBorder = packageOf(path) !== undefined && packageOf(user) === undefined
      if (isBorder && !isTest(user)) borders.add(user)
      else if (isTest(user) || !borders.has(path)) reached.add(user)
    }
  for (const path of borders) for (const user of users.get(path) ?? []) if (isTest(user)) reached.add(user)
  const behind = new Set([...reached, ...borders])
  for (const path of behind) for (const user of users.get(path) ?? []) behind.add(user)
  const run = tests.filter((path) => reached.has(path))
  const beyond = tests.filter((path) => behind.has(path) && !reached.has(path)).length
  const reasons = {
    'reach a changed package only through other files of the product': beyond,
    'neither import nor name a changed file': tests.length - run.length - beyond,
  }
  return { run, leftOut: Object.fromEntries(Object.entries(reasons).filter(([, count]) => count > 0)) }
}

/** Reads who imports or names whom. Types leave no trace at run time. */
export function usersAmong(files: readonly { path: string; text: string }[]): Users {
  const sources = new Map(
    Object.entries<string>(packageSources(checkout)).map(([name, path]) => [name, relative(checkout, path)]),
  )
  const known = new Set(files.map(({ path }) => path))
  const read = files
    .filter(({ path }) => /\.m?[jt]sx?$/.test(path) && !path.endsWith('.d.ts'))
    .map(({ path, text }) => ({ path, text, module: parseSync(path, text).module }))
  const pathOf = (from: string, specifier: string) =>
    specifier.startsWith('.') ? normalize(join(dirname(from), specifier)) : sources.get(specifier)
  /** Path of an index → exported name → the file that has it, so that a user of one part does not use them all. */
  const indexes = new Map<string, Map<string, string>>()
  for (const { path, module } of read) {
    const entries = module.staticExports.flatMap((each) => each.entries)
    if (module.staticImports.length > 0 || entries.some(({ moduleRequest }) => !moduleRequest)) continue
    const parts = entries.map(
      (each) => [each.exportName.name ?? '', pathOf(path, each.moduleRequest!.value) ?? ''] as const,
    )
    indexes.set(path, new Map(parts))
  }
  const users = new Map<string, string[]>()
  for (const { path, text, module } of read) {
    const used = new Set<string | undefined>()
    for (const { moduleRequest, entries } of module.staticImports) {
      const to = pathOf(path, moduleRequest.value)
      const index = to === undefined ? undefined : indexes.get(to)
      const values = entries.filter(({ isType }) => !isType)
      if (entries.length === 0) used.add(to)
      for (const { importName } of values) used.add(index?.get(importName.name ?? '') ?? to)
    }
    for (const { entries } of module.staticExports)
      for (const { moduleRequest, isType } of entries)
        if (moduleRequest && !isType) used.add(pathOf(path, moduleRequest.value))
    // Also what is loaded late, started as a process or read.
    const statements = [
      ...module.staticImports,
      ...module.staticExports.filter(({ entries }) => entries.some(({ moduleRequest }) => moduleRequest)),
    ]
    statements.sort((one, other) => one.start - other.start)
    const rest = statements.reduceRight(
      (left, { start, end }) => left.slice(0, start) + left.slice(end),
      text,
    )
    for (const [, name = ''] of rest.matchAll(/['"]([\w@./-]+\.\w+)['"]/g))
      used.add(normalize(name)).add(normalize(join(dirname(path), name)))
    for (const each of used)
      if (each !== undefined && each !== path && known.has(each))
        users.set(each, [...(users.get(each) ?? []), path])
  }
  return users
}
