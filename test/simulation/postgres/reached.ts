/**
 * Finds the statements of store/ that the simulated code can reach: follows each name from the declarations and imports of a file to the
 * declarations that it refers to. Reads more than a run does, because it takes each branch.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseSync, type Node, type TaggedTemplateExpression } from 'oxc-parser'
import { packageSources } from '../../../cli/build/sources.mjs'
import { checkout } from '../../../temporal.config.ts'

export interface ReachedStatement {
  /** The file and the declaration that contain it. */
  file: string
  by: string
  /** With `$1` for each value; without what is composed at run time. */
  text: string
}

interface Module {
  path: string
  declared: Map<string, Node[]>
  /** Local name → file and exported name. */
  imported: Map<string, { path: string; name: string }>
}

const packages: Readonly<Record<string, string>> = packageSources(checkout)
const modules = new Map<string, Module>()

/** The whole statements, in the order of their discovery. */
export function reachedStatements(...roots: string[]): ReachedStatement[] {
  const seen = new Set<string>()
  const found: ReachedStatement[] = []
  const reach = (path: string, name: string): void => {
    if (seen.has(`${path}#${name}`) || !path.endsWith('.ts') || !existsSync(join(checkout, path))) return
    seen.add(`${path}#${name}`)
    const module = moduleOf(path)
    for (const node of module.declared.get(name) ?? [])
      for (const each of childrenOf(node)) {
        if (each.type === 'Identifier') refer(module, each.name)
        // A constant is a part of statements.
        const isPart = node.type === 'VariableDeclarator' && node.init === each
        if (isStatement(each) && !isPart && path.startsWith('store/')) {
          const text = textOf(module, each)
          if (/^\s*(select|insert|update|delete|with|lock|notify)\b/i.test(text)) {
            let values = 0
            found.push({ file: path, by: name, text: text.replaceAll('\0', () => `$${++values}`) })
          }
        }
      }
    const passedOn = module.imported.get(name)
    if (passedOn) reach(passedOn.path, passedOn.name)
  }
  const refer = ({ path, declared, imported }: Module, name: string): void => {
    const from = imported.get(name)
    if (declared.has(name)) reach(path, name)
    else if (from) reach(from.path, from.name)
  }
  for (const root of roots) {
    const { declared, imported } = moduleOf(root)
    for (const name of [...declared.keys(), ...imported.keys()]) reach(root, name)
  }
  return found
}

function moduleOf(path: string): Module {
  const known = modules.get(path)
  if (known) return known
  const module: Module = { path, declared: new Map(), imported: new Map() }
  modules.set(path, module)
  const fileOf = (specifier: string): string | undefined => {
    if (specifier.startsWith('.')) return join(dirname(path), specifier)
    const source = packages[specifier]
    return source === undefined ? undefined : relative(checkout, source)
  }
  const declare = (node: Node): void => {
    const parts = node.type === 'VariableDeclaration' ? node.declarations : [node]
    for (const part of parts) {
      const id = 'id' in part ? (part.id as Node | null) : null
      for (const each of id ? childrenOf(id) : [])
        if (each.type === 'Identifier')
          module.declared.set(each.name, [...(module.declared.get(each.name) ?? []), part])
    }
  }
  for (const node of parseSync(path, readFileSync(join(checkout, path), 'utf8')).program.body) {
    if (node.type === 'ImportDeclaration') {
      const from = fileOf(node.source.value)
      for (const each of node.specifiers)
        if (from !== undefined && each.type === 'ImportSpecifier' && each.imported.type === 'Identifier')
          module.imported.set(each.local.name, { path: from, name: each.imported.name })
    } else if (node.type === 'ExportNamedDeclaration') {
      if (node.declaration) declare(node.declaration)
      const from = node.source ? fileOf(node.source.value) : undefined
      for (const { local, exported } of node.specifiers)
        if (from !== undefined && local.type === 'Identifier' && exported.type === 'Identifier')
          module.imported.set(exported.name, { path: from, name: local.name })
    } else declare(node)
  }
  return module
}

/** The node and all below it, except types. */
function childrenOf(root: unknown, found: Node[] = []): Node[] {
  if (Array.isArray(root)) for (const each of root) childrenOf(each, found)
  else if (typeof root === 'object' && root !== null) {
    if ('type' in root && typeof root.type === 'string') {
      if (/^TS(Type|Interface)/.test(root.type)) return found
      found.push(root as Node)
    }
    for (const [name, child] of Object.entries(root)) if (name !== 'parent') childrenOf(child, found)
  }
  return found
}

const isStatement = (node: Node): node is TaggedTemplateExpression =>
  node.type === 'TaggedTemplateExpression' &&
  node.tag.type === 'Identifier' &&
  ['sql', 'prepared'].includes(node.tag.name)

/** The text of a template with the constants of its module and of others inserted, and a null byte for each other expression. */
const textOf = (module: Module, { quasi }: TaggedTemplateExpression): string =>
  quasi.quasis.map(({ value }, at) => `${value.cooked}${partOf(module, quasi.expressions[at])}`).join('')

function partOf(module: Module, part: Node | null | undefined): string {
  if (!part) return ''
  if (isStatement(part)) return textOf(module, part)
  if (part.type === 'CallExpression' && part.callee.type === 'Identifier' && part.callee.name === 'raw') {
    const [text] = part.arguments
    return text?.type === 'Literal' ? String(text.value) : '\0'
  }
  if (part.type !== 'Identifier') return '\0'
  const from = module.imported.get(part.name)
  if (from?.path.startsWith('store/') === true)
    return partOf(moduleOf(from.path), { ...part, name: from.name })
  const [declared] = module.declared.get(part.name) ?? []
  const value = declared?.type === 'VariableDeclarator' ? declared.init : undefined
  return value?.type === 'TaggedTemplateExpression' || value?.type === 'CallExpression'
    ? partOf(module, value)
    : '\0'
}
