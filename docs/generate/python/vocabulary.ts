/**
 * Reads the vocabulary of model files from its TypeScript declarations: every function that `models/define.ts` exports, with its arguments and
 * options, and the fields of every object that it takes. `words.ts` writes the same vocabulary for Python.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseSync, type Comment, type Node, type ParamPattern, type Program } from 'oxc-parser'
import { checkout } from '../../../temporal.config.ts'

export type Shape =
  /** Data that is passed on as it is. */
  | { kind: 'data' }
  | { kind: 'text' | 'number' | 'flag' | 'pattern' | 'function' }
  | { kind: 'literal'; value: string | number | boolean }
  | { kind: 'list'; items: Shape }
  /** An object whose keys are names that the model file chooses. */
  | { kind: 'record'; values: Shape }
  /** What a function of the vocabulary returns. */
  | { kind: 'made'; name: string }
  /** An object with fields; `name`: that of its declaration. */
  | { kind: 'object'; name?: string; fields: readonly Field[] }
  | { kind: 'union'; of: readonly Shape[] }

export interface Field {
  name: string
  shape: Shape
  optional: boolean
  /** The comment; may be empty. */
  meaning: string
}

export interface Word {
  name: string
  meaning: string
  /** The arguments before the options. */
  positional: readonly Field[]
  /** The fields of the last argument; absent for a function without options. */
  options?: readonly Field[]
  /** The fields of the options that may also be given as arguments, in their order. */
  leading: readonly string[]
  /** The name of its result. */
  result: string
}

/** Functions of the vocabulary that a definition does not contain. */
const leftOut = new Set(['pinball'])
/** Results whose types are computed from the arguments. */
const resultOf: Readonly<Record<string, string>> = {
  number: 'Feature',
  category: 'Feature',
  text: 'Feature',
  vector: 'Feature',
  image: 'Feature',
  lookup: 'Feature',
}
/** Results that a model file may also write as an object. */
const alsoWritten = new Set(['RetrainSpec'])
/** Fields of these types are set by the functions. */
const setByFunctions = new Set(['FeatureOrigin'])
const entry = 'models/define.ts'

/** Returns the functions in the order of their export. Throws for a declaration that it cannot read. */
export function readVocabulary(): Word[] {
  const { program } = moduleAt(entry)
  const exported = program.body.flatMap((statement) => {
    if (statement.type !== 'ExportNamedDeclaration' || statement.source === null) return []
    const path = join(dirname(entry), statement.source.value)
    return statement.specifiers.flatMap((each) => {
      if (statement.exportKind === 'type' || each.exportKind === 'type') return []
      const name = each.exported.type === 'Identifier' ? each.exported.name : ''
      return leftOut.has(name) ? [] : [{ module: moduleAt(path), name }]
    })
  })
  for (const { module, name } of exported) made.add(resultName(module, name))
  return exported.map(({ module, name }) => wordOf(module, name))
}

/** The names of what the functions return. */
const made = new Set<string>()

function resultName(module: Module, name: string): string {
  const [found] = declarationsOf(module, name)
  const node = found && functionIn(declared(found), name)
  const type = node?.returnType?.typeAnnotation
  const own =
    type?.type === 'TSTypeReference' && type.typeName.type === 'Identifier' ? type.typeName.name : undefined
  const result = resultOf[name] ?? own
  if (result === undefined) throw new Error(`${module.path}: the result of ${name} has no name`)
  return result
}

interface Module {
  path: string
  text: string
  comments: Comment[]
  program: Program
}

const modules = new Map<string, Module>()

function moduleAt(path: string): Module {
  const known = modules.get(path)
  if (known !== undefined) return known
  const text = readFileSync(join(checkout, path), 'utf8')
  const { program, comments, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  const read = { path, text, comments, program }
  modules.set(path, read)
  return read
}

/** Where a type is read: its module, and the types of the parameters of generics. */
interface Scope {
  module: Module
  generics: ReadonlyMap<string, Shape>
}

type Declaration = { node: Node; module: Module }

/** Finds a declaration by its name, also one that is imported. */
function declarationsOf(module: Module, name: string): Declaration[] {
  const found: Declaration[] = []
  for (const statement of module.program.body) {
    if (statement.type === 'ImportDeclaration' && statement.source.value.startsWith('.'))
      for (const each of statement.specifiers)
        if (each.type === 'ImportSpecifier' && each.local.name === name) {
          const imported = each.imported.type === 'Identifier' ? each.imported.name : each.imported.value
          return declarationsOf(moduleAt(join(dirname(module.path), statement.source.value)), imported)
        }
    const node = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement
    if (node === null) continue
    if (node.type === 'VariableDeclaration') {
      for (const each of node.declarations)
        if (each.id.type === 'Identifier' && each.id.name === name) found.push({ node: statement, module })
    } else if ('id' in node && node.id?.type === 'Identifier' && node.id.name === name)
      found.push({ node: statement, module })
  }
  return found
}

const declared = ({ node }: Declaration): Node =>
  node.type === 'ExportNamedDeclaration' && node.declaration !== null ? node.declaration : node

function wordOf(module: Module, name: string): Word {
  const found = declarationsOf(module, name)
  const signatures = found.map((each) => signatureOf(each, name))
  const [first, second] = signatures
  if (first === undefined) throw new Error(`${module.path} declares no function ${name}`)
  const meaning = signatures.find((each) => each.meaning !== '')?.meaning ?? ''
  if (meaning === '') throw new Error(`${module.path}: ${name} has no comment that says what it is`)
  // Of an overloaded function: the arguments of its first form are fields of the options of its second.
  if (second !== undefined) {
    const leading = first.positional.map((each) => each.name)
    const names = new Set(second.options?.map((each) => each.name))
    if (!leading.every((each) => names.has(each)))
      throw new Error(`${module.path}: the forms of ${name} have different arguments`)
    return { ...second, meaning, leading }
  }
  const clash = first.positional.find((each) => first.options?.some(({ name: own }) => own === each.name))
  if (clash !== undefined)
    throw new Error(`${module.path}: ${name} has an argument and an option ${clash.name}`)
  return { ...first, meaning }
}

type FunctionNode = Extract<
  Node,
  { type: 'FunctionDeclaration' | 'TSDeclareFunction' | 'ArrowFunctionExpression' }
>

function functionIn(node: Node, name: string): FunctionNode | undefined {
  const found =
    node.type === 'VariableDeclaration'
      ? node.declarations.find(({ id }) => id.type === 'Identifier' && id.name === name)?.init
      : node
  return found?.type === 'FunctionDeclaration' ||
    found?.type === 'TSDeclareFunction' ||
    found?.type === 'ArrowFunctionExpression'
    ? (found as FunctionNode)
    : undefined
}

function signatureOf({ node: statement, module }: Declaration, name: string): Word {
  const node = functionIn(declared({ node: statement, module }), name)
  if (node === undefined) throw new Error(`${module.path}: ${name} is no function`)
  const generics = new Map<string, Shape>()
  const scope: Scope = { module, generics }
  for (const each of node.typeParameters?.params ?? [])
    generics.set(each.name.name, each.constraint ? shapeOf(each.constraint, scope) : { kind: 'data' })
  const parameters = node.params.flatMap((each) => parametersOf(each, scope))
  const last = parameters.at(-1)
  const options = last?.shape.kind === 'object' ? last.shape.fields : undefined
  return {
    name,
    meaning: commentBefore(module, statement.start),
    positional: options === undefined ? parameters : parameters.slice(0, -1),
    leading: [],
    ...(options !== undefined && { options }),
    result: resultName(module, name),
  }
}

function parametersOf(parameter: ParamPattern, scope: Scope): Field[] {
  if (parameter.type === 'TSParameterProperty') return []
  if (parameter.type === 'RestElement') {
    // `...given: [options] | [name, options]`: the arguments of the longest form, of which the shorter ones lack the first.
    const type = parameter.typeAnnotation?.typeAnnotation
    const forms = type?.type === 'TSUnionType' ? type.types : []
    const lists = forms.map((form) =>
      form.type === 'TSTupleType' ? form.elementTypes.map((each) => labelled(each, scope)) : [],
    )
    const longest = lists.sort((one, other) => other.length - one.length)[0] ?? []
    return longest.map((each, place) => ({ ...each, optional: place < longest.length - 1 }))
  }
  const isAssigned = parameter.type === 'AssignmentPattern'
  const target = isAssigned ? parameter.left : parameter
  const type = target.typeAnnotation?.typeAnnotation
  return [
    {
      name: target.type === 'Identifier' ? target.name : 'options',
      shape: type ? shapeOf(type, scope) : { kind: 'data' },
      optional: isAssigned || (target as { optional?: boolean }).optional === true,
      meaning: '',
    },
  ]
}

function labelled(node: Node, scope: Scope): Field {
  if (node.type !== 'TSNamedTupleMember')
    throw new Error(`${scope.module.path}: a form has an argument without a name`)
  return { name: node.label.name, shape: shapeOf(node.elementType, scope), optional: false, meaning: '' }
}

/** Types whose values are rows: their keys are the names of features. */
const rows = new Set(['RowOf', 'FeatureRow'])
/** Types that are read as what they hold, because their declaration computes it. */
const known: Readonly<Record<string, Shape>> = {
  RegExp: { kind: 'pattern' },
  Duration: { kind: 'text' },
}

function shapeOf(node: Node, scope: Scope): Shape {
  switch (node.type) {
    case 'TSStringKeyword':
    case 'TSTemplateLiteralType':
      return { kind: 'text' }
    case 'TSNumberKeyword':
      return { kind: 'number' }
    case 'TSBooleanKeyword':
      return { kind: 'flag' }
    case 'TSNullKeyword':
      return { kind: 'data' }
    case 'TSFunctionType':
      return { kind: 'function' }
    case 'TSLiteralType': {
      const { literal } = node
      if (literal.type !== 'Literal' || literal.value === null || typeof literal.value === 'object')
        return literal.type === 'TemplateLiteral' ? { kind: 'text' } : { kind: 'number' }
      return { kind: 'literal', value: literal.value as string | number | boolean }
    }
    case 'TSParenthesizedType':
      return shapeOf(node.typeAnnotation, scope)
    case 'TSTypeOperator':
      if (node.operator === 'keyof') return { kind: 'text' }
      return shapeOf(node.typeAnnotation, scope)
    case 'TSArrayType':
      return { kind: 'list', items: shapeOf(node.elementType, scope) }
    case 'TSTypeLiteral':
      return { kind: 'object', fields: fieldsOf(node.members as Node[], scope) }
    case 'TSUnionType':
      return unionOf(node.types.map((each) => shapeOf(each, scope)))
    case 'TSIntersectionType':
      return intersectionOf(node.types.map((each) => shapeOf(each, scope)))
    case 'TSIndexedAccessType': {
      const index = shapeOf(node.indexType, scope)
      return index.kind === 'literal'
        ? memberOf(node.objectType, String(index.value), scope)
        : { kind: 'text' }
    }
    // `(typeof names)[number]`: one of the words of a list.
    case 'TSTypeQuery':
      return { kind: 'text' }
    case 'TSTypeReference':
      return referred(node, scope)
    default:
      throw new Error(
        `${scope.module.path}: the type ${node.type} has no equal in Python: read it in docs/generate/python/vocabulary.ts`,
      )
  }
}

/** The shape of `Type['name']`. A declaration may refer to a field of a type that extends it. */
function memberOf(type: Node, name: string, scope: Scope): Shape {
  if (type.type === 'TSTypeReference' && type.typeName.type === 'Identifier') {
    const [found] = declarationsOf(scope.module, type.typeName.name)
    const node = found && declared(found)
    if (node?.type === 'TSInterfaceDeclaration')
      for (const each of node.body.body)
        if (each.type === 'TSPropertySignature' && each.key.type === 'Identifier' && each.key.name === name) {
          const own = each.typeAnnotation?.typeAnnotation
          if (own) return shapeOf(own, { module: found!.module, generics: new Map() })
        }
  }
  const shape = shapeOf(type, scope)
  const field = shape.kind === 'object' ? shape.fields.find((each) => each.name === name) : undefined
  if (field === undefined) throw new Error(`${scope.module.path}: there is no field ${name}`)
  return field.shape
}

function referred(node: Extract<Node, { type: 'TSTypeReference' }>, scope: Scope): Shape {
  const name = node.typeName.type === 'Identifier' ? node.typeName.name : ''
  const given = node.typeArguments?.params ?? []
  const argument = (place: number): Shape => {
    const type = given[place]
    if (type === undefined) throw new Error(`${scope.module.path}: ${name} lacks an argument`)
    return shapeOf(type, scope)
  }
  const fields = (shape: Shape): readonly Field[] => (shape.kind === 'object' ? shape.fields : [])
  const names = (shape: Shape): unknown[] =>
    shape.kind === 'union' ? shape.of.flatMap(names) : shape.kind === 'literal' ? [shape.value] : []
  const generic = scope.generics.get(name)
  if (generic !== undefined) return generic
  if (rows.has(name)) return { kind: 'record', values: { kind: 'data' } }
  if (name in known) return known[name]!
  switch (name) {
    case 'Readonly':
      return argument(0)
    case 'Partial': {
      const shape = argument(0)
      if (shape.kind !== 'object') return shape
      return { ...shape, fields: shape.fields.map((each) => ({ ...each, optional: true })) }
    }
    case 'Record':
      return { kind: 'record', values: argument(1) }
    case 'Omit': {
      const without = names(argument(1))
      return { kind: 'object', fields: fields(argument(0)).filter((each) => !without.includes(each.name)) }
    }
    case 'Pick': {
      const only = names(argument(1))
      return { kind: 'object', fields: fields(argument(0)).filter((each) => only.includes(each.name)) }
    }
    case 'Exclude':
      return argument(0)
    default:
  }
  if (made.has(name) && !alsoWritten.has(name)) return { kind: 'made', name }
  const [found] = declarationsOf(scope.module, name)
  if (found === undefined) throw new Error(`${scope.module.path}: there is no type ${name}`)
  const type = declared(found)
  const generics = new Map<string, Shape>()
  const inner: Scope = { module: found.module, generics }
  if (type.type !== 'TSInterfaceDeclaration' && type.type !== 'TSTypeAliasDeclaration')
    throw new Error(`${found.module.path}: ${name} is no type`)
  type.typeParameters?.params.forEach((each, place) =>
    generics.set(
      each.name.name,
      given[place] !== undefined
        ? shapeOf(given[place], scope)
        : each.constraint
          ? shapeOf(each.constraint, inner)
          : { kind: 'data' },
    ),
  )
  if (type.type === 'TSTypeAliasDeclaration') {
    const shape = shapeOf(type.typeAnnotation, inner)
    if (alsoWritten.has(name))
      return unionOf([{ kind: 'made', name }, { ...shape, name: name.replace(/Spec$/, 'Fields') } as Shape])
    return shape.kind === 'object' ? { ...shape, name } : shape
  }
  const inherited = (type.extends ?? []).flatMap(({ expression, typeArguments }) =>
    expression.type === 'Identifier'
      ? fields(
          referred(
            {
              type: 'TSTypeReference',
              typeName: expression,
              typeArguments,
              start: 0,
              end: 0,
            } as unknown as Extract<Node, { type: 'TSTypeReference' }>,
            inner,
          ),
        )
      : [],
  )
  const all = [...inherited, ...fieldsOf(type.body.body as Node[], inner)]
  return { kind: 'object', name, fields: [...new Map(all.map((each) => [each.name, each])).values()] }
}

function fieldsOf(nodes: readonly Node[], scope: Scope): Field[] {
  return nodes.flatMap((node) => {
    if (node.type !== 'TSPropertySignature' || node.key.type !== 'Identifier')
      throw new Error(`${scope.module.path}: a field at ${node.start} has no plain name`)
    const type = node.typeAnnotation?.typeAnnotation
    if (
      type?.type === 'TSTypeReference' &&
      type.typeName.type === 'Identifier' &&
      setByFunctions.has(type.typeName.name)
    )
      return []
    return [
      {
        name: node.key.name,
        shape: type === undefined ? { kind: 'data' } : shapeOf(type, scope),
        optional: node.optional,
        meaning: commentBefore(scope.module, node.start),
      },
    ]
  })
}

function unionOf(shapes: readonly Shape[]): Shape {
  const flat = shapes.flatMap((each) => (each.kind === 'union' ? each.of : [each]))
  const objects = flat.flatMap((each) => (each.kind === 'object' ? [each] : []))
  const others = flat.filter((each) => each.kind !== 'object')
  const [object] = objects
  const all = object === undefined ? others : [...others, objects.length === 1 ? object : eitherOf(objects)]
  const of = [...new Map(all.map((each) => [JSON.stringify(each), each])).values()]
  return of.length === 1 ? of[0]! : { kind: 'union', of }
}

/** One of several objects: all of their fields, of which only those of all are required. */
function eitherOf(objects: readonly Extract<Shape, { kind: 'object' }>[]): Shape {
  const fields = new Map<string, Field[]>()
  for (const object of objects)
    for (const field of object.fields) fields.set(field.name, [...(fields.get(field.name) ?? []), field])
  return {
    kind: 'object',
    fields: [...fields.values()].map((same) => ({
      ...same[0]!,
      shape: unionOf(same.map(({ shape }) => shape)),
      optional: same.length < objects.length || same.some(({ optional }) => optional),
    })),
  }
}

function intersectionOf(shapes: readonly Shape[]): Shape {
  const objects = shapes.flatMap((each) => (each.kind === 'object' ? [each] : []))
  const plain = shapes.find((each) => each.kind !== 'object')
  if (plain !== undefined && objects.every(({ fields }) => fields.length === 0)) return plain
  if (plain !== undefined)
    throw new Error('an intersection of an object and another type has no equal in Python')
  const fields = new Map(objects.flatMap((each) => each.fields.map((field) => [field.name, field])))
  return { kind: 'object', fields: [...fields.values()] }
}

/** The text of the comment before something, on one line. */
function commentBefore({ text, comments }: Module, start: number): string {
  const found = comments.find(
    ({ type, end }) => type === 'Block' && end <= start && text.slice(end, start).trim() === '',
  )
  if (found === undefined || !found.value.startsWith('*')) return ''
  return found.value
    .slice(1)
    .replaceAll(/^\s*\*? ?/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
