/**
 * Reads from the source, with the compiler, which arguments each activity and each workflow takes. A client of Temporal chooses all of
 * them, so the tests of these arguments are generated from this list: a new activity or a new argument is in it by itself.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { API, SignatureKind, TypeFlags, type Checker, type Symbol, type Type } from 'typescript/unstable/sync'
import { checkout } from '../../../temporal.config.ts'

export type Shape =
  | { kind: 'text' | 'number' | 'boolean' | 'anything' }
  | { kind: 'choice'; of: readonly unknown[] }
  | { kind: 'list' | 'record'; of: Shape }
  | { kind: 'object'; fields: Readonly<Record<string, Shape>> }
  | { kind: 'either'; of: readonly Shape[] }

/** An activity or a workflow, and the shape of each of its parameters. */
export interface Callee {
  name: string
  /** The task queue of an activity. */
  on: 'control' | 'train' | 'workflow'
  takes: readonly Shape[]
}

const files = {
  activity: 'activities/activities.ts',
  workflow: 'workflows/index.ts',
}
const at = (path: string): string => join(checkout, path)

/** Takes a second: the compiler loads these files and what they import. */
export function readCallees(): Callee[] {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-arguments-'))
  const project = join(folder, 'tsconfig.json')
  writeFileSync(
    project,
    JSON.stringify({
      extends: at('tsconfig.json'),
      compilerOptions: { typeRoots: [at('node_modules/@types')] },
      include: [],
      files: Object.values(files).map(at),
    }),
  )
  const api = new API({ cwd: checkout })
  try {
    const { program, checker } = api.updateSnapshot({ openProjects: [project] }).getProjects()[0]!
    const exported = (path: string) =>
      checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(at(path))!)!)
    const made = (path: string, name: string) => {
      const maker = exported(path).find((each) => each.name === name)!
      return checker.getPropertiesOfType(checker.getReturnTypeOfSignature(callOf(checker, maker))!)
    }
    const callee =
      (on: Callee['on']) =>
      (symbol: Symbol): Callee => {
        const takes = callOf(checker, symbol).getParameters()
        return { name: symbol.name, on, takes: takes.map((each) => shapeOf(checker, typeOf(checker, each))) }
      }
    return [
      ...made(files.activity, 'controlActivities').map(callee('control')),
      ...made(files.activity, 'trainingActivities').map(callee('train')),
      ...exported(files.workflow)
        .map((each) => checker.getAliasedSymbol(each))
        .map(callee('workflow')),
    ]
  } finally {
    api.close()
    rmSync(folder, { recursive: true })
  }
}

const typeOf = (checker: Checker, symbol: Symbol): Type => checker.getTypeOfSymbol(symbol)!

const callOf = (checker: Checker, symbol: Symbol) =>
  checker.getSignaturesOfType(typeOf(checker, symbol), SignatureKind.Call)[0]!

/** Deeper parts of a type count as anything: no argument needs them. */
const maxDepth = 6

function shapeOf(checker: Checker, type: Type, depth = 0): Shape {
  const inner = (each: Type) => shapeOf(checker, each, depth + 1)
  if (depth > maxDepth) return { kind: 'anything' }
  if ((type.flags & TypeFlags.BooleanLike) !== 0) return { kind: 'boolean' }
  if (type.isLiteralType()) return { kind: 'choice', of: [type.value] }
  if ((type.flags & TypeFlags.StringLike) !== 0) return { kind: 'text' }
  if ((type.flags & TypeFlags.NumberLike) !== 0) return { kind: 'number' }
  if (type.isUnionType())
    return either(
      type
        .getTypes()
        .filter((each) => !isAbsent(each))
        .map(inner),
    )
  if (checker.isArrayLikeType(type) && type.isTypeReference())
    return { kind: 'list', of: inner(checker.getTypeArguments(type)[0]!) }
  if ((type.flags & (TypeFlags.Object | TypeFlags.Intersection)) === 0) return { kind: 'anything' }
  const [index] = checker.getIndexInfosOfType(type)
  if (index !== undefined) return { kind: 'record', of: inner(index.valueType) }
  const fields = checker.getPropertiesOfType(type).map((each) => [each.name, inner(typeOf(checker, each))])
  return { kind: 'object', fields: Object.fromEntries(fields) as Record<string, Shape> }
}

const isAbsent = (type: Type): boolean => (type.flags & (TypeFlags.Undefined | TypeFlags.Null)) !== 0

/** Joins the literals of a union to one choice. */
function either(shapes: readonly Shape[]): Shape {
  const choices = shapes.flatMap((each) => (each.kind === 'choice' ? each.of : []))
  const isBoolean = shapes.some(({ kind }) => kind === 'boolean')
  const others = shapes.filter(({ kind }) => kind !== 'choice' && kind !== 'boolean')
  const all: Shape[] = [
    ...(choices.length > 0 ? [{ kind: 'choice', of: choices } as const] : []),
    ...(isBoolean ? [{ kind: 'boolean' } as const] : []),
    ...others,
  ]
  return all.length === 1 ? all[0]! : { kind: 'either', of: all }
}

/** Returns the path and the shape of each value within a shape: `due.batch`, `kinds[]`. */
export function leavesOf(shape: Shape, path = ''): { path: string; shape: Shape }[] {
  switch (shape.kind) {
    case 'object': {
      const inner = Object.entries(shape.fields)
      return inner.flatMap(([name, each]) => leavesOf(each, path === '' ? name : `${path}.${name}`))
    }
    case 'list':
      return leavesOf(shape.of, `${path}[]`)
    case 'either':
      return shape.of.flatMap((each) => leavesOf(each, path))
    default:
      return [{ path, shape }]
  }
}
