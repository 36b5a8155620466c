/** Reads types and tables from the source: the members of an interface or the entries of a table, with their comments. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync, type Comment, type Node, type ParamPattern } from 'oxc-parser'
import { checkout } from '../../../temporal.config.ts'

export interface Member {
  name: string
  /** Source text on one line. */
  type: string
  optional: boolean
  /** Comment on one line; may be empty. */
  meaning: string
  /** Members of an inline object type. */
  members: Member[]
}

export interface TableEntry {
  name: string
  meaning: string
  /** The `//` comment at the start of the entry's group. */
  heading?: string
}

export interface Declarations {
  path: string
  /** Interfaces and object types, by name. */
  types: ReadonlyMap<string, Member[]>
  /** String unions, by name. */
  unions: ReadonlyMap<string, string[]>
  /** Tables (`export const name = { … }`), by name. */
  tables: ReadonlyMap<string, TableEntry[]>
  /** Exported functions with their comments and parameters. */
  functions: ReadonlyMap<string, DeclaredFunction>
}

export interface DeclaredFunction {
  meaning: string
  /** `type`: source text on one line. `members`: those of an inline object type. */
  parameters: Member[]
}

export function readDeclarations(path: string): Declarations {
  const text = readFileSync(join(checkout, path), 'utf8')
  const { program, comments, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  const types = new Map<string, Member[]>()
  const tables = new Map<string, TableEntry[]>()
  const functions = new Map<string, DeclaredFunction>()
  const unions = new Map<string, string[]>()
  const source: Text = { text, comments }
  for (const statement of program.body) {
    const node = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement
    const exported = statement.type === 'ExportNamedDeclaration'
    if (node === null) continue
    if (node.type === 'TSInterfaceDeclaration')
      types.set(node.id.name, membersOf(source, node.body.body as Node[]))
    else if (node.type === 'TSTypeAliasDeclaration') {
      const literal = literalIn(node.typeAnnotation)
      if (literal !== undefined) types.set(node.id.name, membersOf(source, literal))
      const words = wordsIn(node.typeAnnotation)
      if (words !== undefined) unions.set(node.id.name, words)
    } else if (node.type === 'FunctionDeclaration' && exported && node.id)
      functions.set(node.id.name, functionOf(source, statement.start, node.params))
    else if (node.type === 'VariableDeclaration' && exported)
      for (const { id, init } of node.declarations) {
        if (id.type !== 'Identifier' || init === null) continue
        const table = objectIn(init)
        if (table !== undefined) tables.set(id.name, entriesOf(source, table))
        if (init.type === 'ArrowFunctionExpression')
          functions.set(id.name, functionOf(source, statement.start, init.params))
      }
  }
  return { path, types, unions, tables, functions }
}

interface Text {
  text: string
  comments: Comment[]
}

const functionOf = (source: Text, start: number, parameters: readonly ParamPattern[]): DeclaredFunction => ({
  meaning: commentBefore(source, start),
  parameters: parameters.flatMap((node): Member[] => {
    const isAssigned = node.type === 'AssignmentPattern'
    const target = isAssigned ? node.left : node
    if (target.type === 'RestElement' || target.type === 'TSParameterProperty') return []
    const type = target.typeAnnotation?.typeAnnotation
    return [
      {
        name: target.type === 'Identifier' ? target.name : '',
        optional: isAssigned || (target as { optional?: boolean }).optional === true,
        meaning: '',
        ...typeOf(source, type),
      },
    ]
  }),
})

function typeOf(source: Text, type: Node | undefined): Pick<Member, 'type' | 'members'> {
  if (type === undefined) return { type: '', members: [] }
  const literal = literalIn(type)
  return {
    type: onOneLine(source.text.slice(type.start, type.end)),
    members: literal === undefined ? [] : membersOf(source, literal),
  }
}

function membersOf(source: Text, nodes: readonly Node[]): Member[] {
  return nodes.flatMap((node) => {
    if (node.type !== 'TSPropertySignature' || node.key.type !== 'Identifier') return []
    return [
      {
        name: node.key.name,
        optional: node.optional,
        meaning: commentBefore(source, node.start),
        ...typeOf(source, node.typeAnnotation?.typeAnnotation),
      },
    ]
  })
}

/** Returns the members of an object type, also within a union or an intersection. */
function literalIn(node: Node): Node[] | undefined {
  if (node.type === 'TSTypeLiteral') return node.members as Node[]
  if (node.type !== 'TSUnionType' && node.type !== 'TSIntersectionType') return undefined
  const found = node.types.flatMap((each) => literalIn(each) ?? [])
  return found.length === 0 ? undefined : found
}

function wordsIn(node: Node): string[] | undefined {
  if (node.type !== 'TSUnionType') return undefined
  const words = node.types.flatMap((each) =>
    each.type === 'TSLiteralType' && each.literal.type === 'Literal' ? [String(each.literal.value)] : [],
  )
  return words.length === node.types.length ? words : undefined
}

function objectIn(node: Node): Node[] | undefined {
  if (node.type === 'ObjectExpression') return node.properties as Node[]
  if (node.type === 'TSAsExpression' || node.type === 'TSSatisfiesExpression')
    return objectIn(node.expression)
  return undefined
}

function entriesOf(source: Text, properties: readonly Node[]): TableEntry[] {
  let heading: string | undefined
  return properties.flatMap((node) => {
    if (node.type !== 'Property') return []
    heading = lineBefore(source, node.start) ?? heading
    const name = source.text.slice(node.key.start, node.key.end).replace(/^'|'$/g, '')
    return [{ name, meaning: commentBefore(source, node.start), heading }]
  })
}

/** Returns the comment that ends directly before a position. */
const before = ({ text, comments }: Text, wanted: Comment['type'], start: number): Comment | undefined =>
  comments.find(({ type, end }) => type === wanted && end <= start && text.slice(end, start).trim() === '')

/** The text of the `/** … *\/` comment before something. */
function commentBefore(source: Text, start: number): string {
  const value = before(source, 'Block', start)?.value ?? ''
  return value.startsWith('*') ? onOneLine(value.slice(1).replaceAll(/^\s*\*? ?/gm, '')) : ''
}

/** Returns the `//` comment above the doc comment of a node. */
const lineBefore = (source: Text, start: number): string | undefined =>
  before(source, 'Line', before(source, 'Block', start)?.start ?? start)?.value.trim()

const onOneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim()
