/**
 * Lists words that the project does not use: phrases without a concrete subject, and private names for which the field has a term.
 * Quotations in Markdown are exempt.
 */

/** Phrases banned from comments, strings, titles and pages. */
export const bannedPhrases: readonly RegExp[] = [
  /\b(?:whoever|whomever|nobody|somebody|anybody|everybody)\b/i,
  /\b(?:is|are) none\b/i,
  /\bin vain\b/i,
  /\bof before\b/i,
  /\b(?:were|had) (?:it|there|they)\b(?= \w)/,
  /\b(?:taken|take|takes|took|taking) back\b/i,
  /\bleft alone\b/i,
]

/** Former private name → the field's term that replaced it. */
export const privateNames: Readonly<Record<string, string>> = {
  ink: 'byte writer',
  desk: 'request slot',
  sheet: 'input buffer',
  tally: 'counters',
  patience: 'deadline',
  respite: 'read throttle',
  farewell: 'connection reaper',
  seeOff: 'close later',
  gathering: 'body assembler',
  rung: 'fallback level',
  rungs: 'fallback levels',
  giveWay: 'activate fallback, offer supersede',
  flagWays: 'kill switch modes',
  brokenChampion: 'champion breaker limits',
  takeBack: 'roll back',
  take_back: 'roll_back',
  taken_back: 'rolled_back',
  takenBack: 'rolled back',
  lifeline: 'Temporal reachability',
  isHurried: 'isBreakGlass',
  lostGround: 'basis lost',
  goTheWay: 'run stages',
  heed: 'apply command',
  clerk: 'process inbox',
  letGo: 'release',
  mayTouch: 'can access',
  heldTo: 'model filter',
  carryOut: 'execute idempotent',
  parcel: 'outbox item',
  parcels: 'outbox items',
  warrant: 'command signature',
  vouch: 'sign',
  vouches: 'signs',
  vouched: 'signed',
  vouching: 'artifact signature',
  disbelieved: 'rejected because',
  glance: 'overview row',
  misfit: 'incompatibility',
  misfits: 'incompatibilities',
  tellPeople: 'dispatch alerts',
  tellMirrors: 'sync integrations',
  makeLogDays: 'create log partitions',
  giveUpArtifact: 'delete artifact',
  isStarved: 'is out of memory',
  spoil: 'inject fault',
  canaryWatch: 'incremental judge',
  contestants: 'models',
  braked: 'throttled',
}

/** Returns violations with their location: `path:line says "nobody"`. */
export function issuesOfWords(files: readonly { path: string; text: string }[]): string[] {
  return files.flatMap(({ path, text }) => {
    // The pattern with all names takes seconds for the whole tree, and few files contain the letters of a name.
    const names = Object.keys(privateNames).filter((name) => text.includes(name.slice(1)))
    const phrases = [...bannedPhrases, ...(names.length === 0 ? [] : [privateName(names)])].filter((phrase) =>
      phrase.test(text),
    )
    if (phrases.length === 0) return []
    return text.split('\n').flatMap((line, at) => {
      if (path.endsWith('.md') && line.startsWith('>')) return []
      const found = phrases.flatMap((phrase) => phrase.exec(line)?.[0] ?? [])
      return found.map((word) => `${path}:${at + 1} says "${word}"`)
    })
  })
}

/** Builds a pattern that also matches inside longer names: `openTally`, `tallyOf`, `taken_back_at`. */
function patternOf(name: string): string {
  if (name.length < 5) return `\\b${name}s?\\b`
  const [first = ''] = name
  const [lower, upper, rest] = [first.toLowerCase(), first.toUpperCase(), name.slice(1)]
  return `(?:(?:\\b|(?<=_))[${lower}${upper}]|(?<=[a-z])${upper})${rest}(?:\\b|(?=[A-Z_]))`
}

const privateName = (names: readonly string[]) => new RegExp(names.map(patternOf).join('|'))

/** Counts each private name and banned phrase in the files. */
export function countWords(files: readonly { text: string }[]): Record<string, number> {
  const all = files.map(({ text }) => text).join('\n')
  const names = Object.keys(privateNames).map((name): [string, number] => [
    name,
    all.match(new RegExp(patternOf(name), 'g'))?.length ?? 0,
  ])
  const phrases = bannedPhrases.map((phrase): [string, number] => [
    phrase.source,
    all.match(new RegExp(phrase.source, `${phrase.flags}g`))?.length ?? 0,
  ])
  return Object.fromEntries([...names, ...phrases])
}
