/** Tests that the advice for a number keeps its minus, however a table writes it. TENURE_TEST_SEED draws others. */
import { expect, it } from 'vitest'
import { readNumber } from '../../../domain/values/readings.ts'
import { valueIssue } from '../../../domain/values/sentences.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { valueDraws } from '../../support/draws.ts'

const { whole, oneOf } = valueDraws(Number(environmentWith({})['TENURE_TEST_SEED'] ?? 1))

/** An amount in the digits and separators of a country, and as it is read. */
function drawAmount(): { written: string; read: string } {
  const [thousands, cents] = [String(1 + whole(900)), String(whole(100)).padStart(2, '0')]
  const rest = String(whole(1_000)).padStart(3, '0')
  const plain = `${thousands}${rest}.${cents}`
  const written = oneOf([
    plain,
    `${thousands},${rest}.${cents}`,
    `${thousands}.${rest},${cents}`,
    `${thousands} ${rest}.${cents}`,
    `${thousands}\u00a0${rest},${cents}`,
    `${thousands}'${rest}.${cents}`,
    `${thousands}${rest},${cents}`,
    plain.replaceAll(/\d/g, (digit) => String.fromCodePoint(0x660 + Number(digit))),
  ])
  return { written, read: plain }
}

const dashes = ['-', '\u2212', '\u2013', '\u2014', '\u2010', '\u2011', '\ufe63', '\uff0d']
const units = ['', '', '€', '$', 'R$', 'EUR', '%', 'kg']

function drawNegative(amount: string): string {
  const [dash, unit, blank] = [oneOf(dashes), oneOf(units), oneOf(['', ' '])]
  return oneOf([
    `${dash}${blank}${amount}${blank}${unit}`,
    `${dash}${unit}${blank}${amount}`,
    `${unit}${blank}${dash}${amount}`,
    `${amount}${blank}${unit}${blank}${dash}`,
    `(${amount}${blank}${unit})`,
    `${unit}(${amount})`,
    `(${unit}${blank}${amount})${blank}`,
  ])
}

const advised = (text: string): string[] =>
  [
    ...(/write (?:decimals with a point, )?(.*)$/.exec(valueIssue('number', text))?.[1] ?? '').matchAll(
      /-?\d[\d.]*/g,
    ),
  ].map(([number]) => number)

it('the advice for 5,000 drawn negative amounts keeps the minus and the amount', () => {
  for (let at = 0; at < 5_000; at++) {
    const { written, read } = drawAmount()
    const text = drawNegative(written)
    if (readNumber(text) !== undefined) expect(readNumber(text)).toBe(-Number(read))
    else expect(advised(text), text).toEqual([`-${read}`])
  }
})

it.each(['--5', '-(5)', '(-5)', '+-5', '5 CR', 'DR 5', '5.00DB', 'minus 5', 'neg 5', '5,-', '5.-'])(
  'the advice for %s asks which sign is meant',
  (text) => expect(advised(text).map(Number)).toEqual([5, -5]),
)
