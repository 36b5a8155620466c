/** Defines valid feature names, and makes a valid name from an invalid one. */

const featureNamePattern = /^[A-Za-z][A-Za-z0-9_]*$/

export const isFeatureName = (name: string): boolean => featureNamePattern.test(name)

/** Letters that Unicode does not decompose into a plain letter and its marks. */
const plainLetters: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  Æ: 'Ae',
  ø: 'o',
  Ø: 'O',
  œ: 'oe',
  Œ: 'Oe',
  đ: 'd',
  ł: 'l',
  Ł: 'L',
  ı: 'i',
}

/** The name with plain letters, digits and _, such as `Unit_Price` from `Unit Price`; undefined when no letter remains. */
export function plainName(name: string): string | undefined {
  const plain = name
    .replace(/\P{ASCII}/gu, (letter) => plainLetters[letter] ?? letter)
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .replace(/[^A-Za-z0-9_]+/g, '_')
    .replace(/^[^A-Za-z]+|_+$/g, '')
  return plain === '' ? undefined : plain
}

/** Why a name that `isFeatureName` rejects is invalid, with a suggestion. */
export function featureNameIssue(name: string): string {
  const fitting = plainName(name)
  const example = fitting === undefined ? 'as in unit_price' : `as in ${fitting}`
  return `a name begins with a letter, a to z or A to Z, and has such letters, digits and _ only, ${example}`
}
