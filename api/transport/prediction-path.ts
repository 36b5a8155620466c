/**
 * Which prediction a path asks for, whatever query it carries. Callers ask for the same few paths again and again, so each is
 * taken apart once; what asks for anything else is the application's.
 */
export interface Target {
  protocol: 'predict' | 'infer'
  model: string
  /** The version that alone may answer. */
  version?: string
}

/** Paths come from outside, and somebody may send ever new ones. */
const maxKnown = 1_000

export function createTargets(): (
  method: string | undefined,
  path: string | undefined,
) => Target | undefined {
  const known = new Map<string, Target>()
  return (method, path) => {
    if (method !== 'POST' || path === undefined) return undefined
    const found = known.get(path) ?? targetOf(path)
    if (found === undefined) return undefined
    if (known.size >= maxKnown) known.clear()
    known.set(path, found)
    return found
  }
}

/** What a path may begin with: callers behind a proxy name the server too. */
const origin = /^https?:\/\/[^/?]*/i

/** Each name is decoded by itself, as the application does it: written otherwise, a path asks for the same. */
function targetOf(path: string): Target | undefined {
  const [plain = ''] = path.replace(origin, '').split('?')
  const [start, root, models, model, ...rest] = plain.split('/').map(decoded)
  if (start !== '' || models !== 'models' || model === undefined || model === '') return undefined
  const [first, version, last] = rest
  if (rest.length === 1 && root === 'v1' && first === 'predict') return { protocol: 'predict', model }
  if (rest.length === 1 && root === 'v2' && first === 'infer') return { protocol: 'infer', model }
  if (rest.length !== 3 || root !== 'v2' || first !== 'versions' || last !== 'infer') return undefined
  return version ? { protocol: 'infer', model, version } : undefined
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
