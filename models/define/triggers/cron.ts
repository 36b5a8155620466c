/** Finds cron expressions that never fire, and those that Temporal reads otherwise than crontab. Temporal silently accepts `0 0 30 2 *`; it rejects an expression that it cannot parse. */

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
/** The maximum number of days of each month. */
const daysOfMonth = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** Returns the issue of the text; undefined if it can fire. */
export function issueOfCron(text: unknown): string | undefined {
  if (typeof text !== 'string' || !/^[^\s]+(\s+[^\s]+){4}$/.test(text.trim()))
    return `five fields are required, as in '0 3 * * 1', not ${JSON.stringify(text)}`
  if (text.includes('#'))
    return `Temporal takes what follows # in ${JSON.stringify(text)} for a comment: name days of the month, such as 1-7`
  const [, , days = '', months = ''] = text.trim().split(/\s+/)
  const first = Math.min(...days.split(',').map((part) => rangeOf(part, 1, 31).from))
  const longest = Math.max(
    ...months.split(',').flatMap((part) => {
      const { from, to, step } = rangeOf(part, 1, 12)
      return daysOfMonth.filter(
        (_, place) => place + 1 >= from && place + 1 <= to && (place + 1 - from) % step === 0,
      )
    }),
  )
  // Temporal checks everything but numbers.
  return first > longest ? `${JSON.stringify(text)} never fires: no such month has a day ${first}` : undefined
}

/** Tells that both day fields must hold, where crontab starts when either does: when neither begins with `*`. */
export function noteOfCron(text: string): string | undefined {
  const [, , day = '*', , weekday = '*'] = text.trim().split(/\s+/)
  return /^[*?]/.test(day) || /^[*?]/.test(weekday)
    ? undefined
    : `'${text}' starts only on days that are both ${day} in the month and ${weekday} in the week, where crontab starts on either: write * in one of the two fields`
}

function rangeOf(part: string, min: number, max: number): { from: number; to: number; step: number } {
  const [range = '', step = '1'] = part.split('/')
  if (range === '*' || range === '?') return { from: min, to: max, step: Number(step) }
  const [from = '', to] = range.split('-').map((each) => numberOf(each))
  const last = to ?? (part.includes('/') ? max : from)
  return { from: Number(from), to: Number(last), step: Number(step) }
}

const numberOf = (text: string): number => {
  const month = monthNames.indexOf(text.toLowerCase())
  return month === -1 ? Number(text) : month + 1
}
