/** Lists bad data files with the message for each; docs/bad-data.md is generated from this table. */
import { gzipSync } from 'node:zlib'

/** The path does not exist, or is a directory. */
export const isMissing = Symbol('missing')
export const isDirectory = Symbol('directory')

export interface BadFile {
  title: string
  /** The whole content of the file. */
  bytes: Buffer | string | typeof isMissing | typeof isDirectory
  answer: string
  /** The file is declared with parquet(…). */
  parquet?: boolean
  /** The source's `rows`. */
  rows?: string
}

const header = 'id,at,known,size,colour,plot,blooms'
export const goodRows = Array.from(
  { length: 40 },
  (_, row) =>
    `${row},2026-01-${String(1 + (row % 28)).padStart(2, '0')},2026-02-01T10:00:00Z,${row / 10},${row % 2 ? 'red' : 'white'},${row % 3 ? 'north' : '1.10'},${row % 2 ? 'yes' : 'no'}`,
)
export const goodFile = [header, ...goodRows, ''].join('\n')

/** Builds the file with one line changed; the header is line 1. */
const line = (number: number, change: (line: string) => string): string =>
  goodFile
    .split('\n')
    .map((text, at) => (at === number - 1 ? change(text) : text))
    .join('\n')
/** Builds the file with one value of line 7 changed. */
const value = (column: string, text: string): string =>
  line(7, (row) =>
    row
      .split(',')
      .map((each, at) => (header.split(',')[at] === column ? text : each))
      .join(','),
  )
const semicolons = (text: string) => text.replaceAll(',', ';')

export const badFiles: BadFile[] = [
  {
    title: 'no file',
    bytes: isMissing,
    answer:
      'models/data/roses.csv: there is no such file: put it there, or correct the path in the model file',
  },
  {
    title: 'a directory',
    bytes: isDirectory,
    answer: 'models/data/roses.csv: the path is a directory: write the path of one file',
  },
  {
    title: 'an empty file',
    bytes: '',
    answer:
      'models/data/roses.csv: the file is empty: export it again, with the names of the columns in line 1',
  },
  {
    title: 'a header alone',
    bytes: `${header}\n`,
    answer:
      'models/data/roses.csv: the file has a line with the names of its columns and no rows: export it again',
  },
  {
    title: 'rows without a header',
    bytes: goodRows.join('\n'),
    answer:
      'models/data/roses.csv, line 1: the first line holds values (`0`, `2026-01-01`, `2026-02-01T10:00:00Z`, `0`, `white`) and no names: write the names of the columns above it, "at" among them',
  },
  {
    title: 'a feature is missing',
    bytes: line(1, (text) => text.replace('size', 'length')),
    answer:
      'models/data/roses.csv, line 1: there is no column "size", a feature, among id, at, known, length, colour, plot, blooms: rename the column, or correct the name in the model file',
  },
  {
    title: 'a feature in another spelling',
    bytes: line(1, (text) => text.replace('size', 'Si ze')),
    answer:
      'models/data/roses.csv, line 1: there is no column "size", a feature, among id, at, known, Si ze, colour, plot, blooms: rename "Si ze", or correct the name in the model file',
  },
  {
    title: 'the label is missing',
    bytes: line(1, (text) => text.replace('blooms', 'flowers')),
    answer:
      'models/data/roses.csv, line 1: there is no column "blooms", the label, among id, at, known, size, colour, plot, flowers: rename the column, or correct the name in the model file',
  },
  {
    title: 'the time of the event is missing',
    bytes: line(1, (text) => text.replace('at,', 'day,')),
    answer:
      'models/data/roses.csv, line 1: there is no column "at", which eventTime names, among id, day, known, size, colour, plot, blooms: rename the column, or correct the name in the model file',
  },
  {
    title: 'two columns of one name',
    bytes: line(1, (text) => text.replace('plot', 'size')),
    answer: 'models/data/roses.csv, line 1: two columns are named "size": rename one of them',
  },
  {
    title: 'two columns whose names differ in case',
    bytes: line(1, (text) => text.replace('id,', 'Size,')),
    answer:
      'models/data/roses.csv, line 1: two columns are named "Size" and "size", which SQL does not tell apart: rename one of them',
  },
  {
    title: 'Latin-1',
    bytes: Buffer.from(value('plot', 'süd'), 'latin1'),
    answer:
      'models/data/roses.csv, line 7: the text `süd` is not encoded as UTF-8 (it seems to be Latin-1 or Windows-1252): save the file as UTF-8',
  },
  {
    title: 'UTF-16',
    bytes: Buffer.from(`\ufeff${goodFile}`, 'utf16le'),
    answer: 'models/data/roses.csv: the file is encoded as UTF-16: save it as UTF-8',
  },
  {
    title: 'UTF-16 without a mark',
    bytes: Buffer.from(goodFile, 'utf16le'),
    answer: 'models/data/roses.csv: the file is encoded as UTF-16: save it as UTF-8',
  },
  {
    title: 'two byte order marks',
    bytes: `\ufeff\ufeff${goodFile}`,
    answer:
      'models/data/roses.csv: the file begins with two byte order marks: save it with one, or with none',
  },
  {
    title: 'two files with byte order marks, joined',
    bytes: `\ufeff${goodFile}\ufeff${goodFile}`,
    answer:
      'models/data/roses.csv, line 42: a byte order mark stands within the file, as where two files are joined: remove it',
  },
  {
    title: 'line ends of two kinds',
    bytes: line(7, (text) => `${text}\r`),
    answer:
      'models/data/roses.csv, line 7: the line ends with CRLF, those above it with LF: save the file with one kind of line end',
  },
  {
    title: 'CRLF, then LF',
    bytes: goodFile.replaceAll('\n', '\r\n').replace(/\r\n$/, '\n'),
    answer:
      'models/data/roses.csv, line 41: the line ends with LF, those above it with CRLF: save the file with one kind of line end',
  },
  {
    title: 'a carriage return within a value',
    bytes: value('plot', 'no\rth'),
    answer:
      'models/data/roses.csv, line 7: a line break of another kind stands within the row: put the value in double quotes, or save the file with one kind of line end',
  },
  {
    title: 'gzip',
    bytes: gzipSync(goodFile),
    answer: 'models/data/roses.csv: the file is compressed with gzip: unpack it with gunzip',
  },
  {
    title: 'Parquet',
    bytes: 'PAR1\u0015\u0004',
    answer: 'models/data/roses.csv: the file is a Parquet file and not a CSV: declare it with parquet(…)',
  },
  {
    title: 'CSV, declared as Parquet',
    bytes: goodFile,
    parquet: true,
    answer:
      'models/data/roses.csv: the file is not a Parquet file: declare it with csv(…), or export it as Parquet',
  },
  {
    title: 'a Parquet file that is cut off',
    bytes: 'PAR1\u0015\u0004',
    parquet: true,
    answer:
      'models/data/roses.csv: the file is damaged or was cut off, because it has no footer that can be read: export it again',
  },
  {
    title: 'an Excel file',
    bytes: 'PK\u0003\u0004\u0014',
    answer:
      'models/data/roses.csv: the file is a zip or Excel file and not a CSV: export the table as CSV (UTF-8)',
  },
  {
    title: 'JSON',
    bytes: '[{"id": 1, "size": 3.5}]\n',
    answer:
      'models/data/roses.csv: the file holds JSON and not CSV: export it as CSV, with the names of the columns in line 1 and one row a line',
  },
  {
    title: 'HTML',
    bytes: '<!DOCTYPE html>\n<html><body>Sign in</body></html>\n',
    answer:
      'models/data/roses.csv: the file is an HTML page and not a CSV: download the file itself; the page may be a sign-in or an error',
  },
  {
    title: 'N/A for a number',
    bytes: value('size', 'N/A'),
    answer: `models/data/roses.csv, line 7, column "size": \`N/A\` is not a number: leave the cell empty, and declare number({ missing: 'fill' }) when values may be missing`,
  },
  {
    title: 'a word for a number',
    bytes: value('size', 'twelve'),
    answer:
      'models/data/roses.csv, line 7, column "size": `twelve` is not a number: write digits such as 3.5, or declare the feature with category()',
  },
  {
    title: 'yes for a number',
    bytes: value('size', 'yes'),
    answer: 'models/data/roses.csv, line 7, column "size": `yes` is not a number: write 1 or 0',
  },
  {
    title: 'a unit after a number',
    bytes: value('size', '12.5 cm'),
    answer:
      'models/data/roses.csv, line 7, column "size": `12.5 cm` is not a number: write 12.5 without a unit',
  },
  {
    title: 'a negative amount in parentheses',
    bytes: value('size', '(€1834.30)'),
    answer:
      'models/data/roses.csv, line 7, column "size": `(€1834.30)` is not a number: write -1834.30 without a unit',
  },
  {
    title: 'a negative amount with a currency',
    bytes: value('size', '-€0.5'),
    answer:
      'models/data/roses.csv, line 7, column "size": `-€0.5` is not a number: write -0.5 without a unit',
  },
  {
    title: 'a minus of typesetters',
    bytes: value('size', '−0.5'),
    answer: 'models/data/roses.csv, line 7, column "size": `−0.5` is not a number: write -0.5',
  },
  {
    title: 'a minus behind the number',
    bytes: value('size', '0.5-'),
    answer: 'models/data/roses.csv, line 7, column "size": `0.5-` is not a number: write -0.5',
  },
  {
    title: 'a word for a minus',
    bytes: value('size', '0.5 CR'),
    answer:
      'models/data/roses.csv, line 7, column "size": `0.5 CR` is not a number: write 0.5 or -0.5 without a unit, whichever is meant',
  },
  {
    title: 'a dash for the cents',
    bytes: value('size', '"5,-"'),
    answer:
      'models/data/roses.csv, line 7, column "size": `5,-` is not a number: write 5 or -5, whichever is meant',
  },
  {
    title: 'a negative number in parentheses',
    bytes: value('size', '(0.5)'),
    answer: 'models/data/roses.csv, line 7, column "size": `(0.5)` is not a number: write -0.5',
  },
  {
    title: 'a duration',
    bytes: value('size', '01:30:00'),
    answer:
      'models/data/roses.csv, line 7, column "size": `01:30:00` is a duration or a time of day and not a number: write its seconds, 5400, or select them under another name in `rows` of the source, as epoch(…)',
  },
  {
    title: 'a duration without seconds',
    bytes: value('size', '01:30'),
    answer:
      'models/data/roses.csv, line 7, column "size": `01:30` is a duration or a time of day and not a number: write one number in one unit, such as minutes',
  },
  {
    title: 'a decimal comma',
    bytes: semicolons(line(7, (row) => row)).replace(';0.5;', ';0,5;'),
    answer:
      'models/data/roses.csv, line 7, column "size": `0,5` is not a number: write decimals with a point, 0.5',
  },
  {
    title: 'a decimal comma between commas',
    bytes: value('size', '1,5'),
    answer:
      'models/data/roses.csv, line 7: the row has 8 values, the header has 7 names: put a value that contains "," in double quotes, and write decimals with a point',
  },
  {
    title: 'thousands',
    bytes: value('size', '"1,834.30"'),
    answer: 'models/data/roses.csv, line 7, column "size": `1,834.30` is not a number: write 1834.30',
  },
  {
    title: 'thousands with blanks',
    bytes: value('size', '-1 834.30'),
    answer: 'models/data/roses.csv, line 7, column "size": `-1 834.30` is not a number: write -1834.30',
  },
  {
    title: 'a comma before three digits',
    bytes: value('size', '"1,834"'),
    answer:
      'models/data/roses.csv, line 7, column "size": `1,834` is not a number: write 1834 or 1.834, whichever is meant',
  },
  {
    title: 'digits of another script',
    bytes: value('size', '-٥'),
    answer: 'models/data/roses.csv, line 7, column "size": `-٥` is not a number: write -5',
  },
  {
    title: 'thousands with underscores',
    bytes: value('size', '1_834.30'),
    answer: 'models/data/roses.csv, line 7, column "size": `1_834.30` is not a number: write 1834.30',
  },
  {
    title: 'two signs',
    bytes: value('size', '+-5'),
    answer:
      'models/data/roses.csv, line 7, column "size": `+-5` is not a number: write 5 or -5, whichever is meant',
  },
  {
    title: '1e300',
    bytes: value('size', '1e300'),
    answer:
      'models/data/roses.csv, line 7, column "size": `1e300` is too large: write a number below 1e150, or leave the cell empty',
  },
  {
    title: 'NaN',
    bytes: value('size', 'NaN'),
    answer: 'size: 2.5 % are null, none allowed; size: 2.5 % are not finite, such as `NaN`, none allowed',
  },
  {
    title: 'a missing number',
    bytes: value('size', ''),
    answer: 'size: 2.5 % are null, none allowed',
  },
  {
    title: 'the day first',
    bytes: value('at', '31/12/2025'),
    answer:
      'models/data/roses.csv, line 7, column "at": `31/12/2025` is not a time: write the year first, 2025-12-31',
  },
  {
    title: 'the day first, or the month',
    bytes: value('at', '05/06/2025'),
    answer:
      'models/data/roses.csv, line 7, column "at": `05/06/2025` is not a time: write the year first, 2025-06-05 or 2025-05-06, whichever is meant',
  },
  {
    title: 'the month first',
    bytes: value('at', '12/31/2025'),
    answer:
      'models/data/roses.csv, line 7, column "at": `12/31/2025` is not a time: write the year first, 2025-12-31',
  },
  {
    title: 'seconds since 1970',
    bytes: value('at', '1767139200'),
    answer:
      'models/data/roses.csv, line 7, column "at": `1767139200` is not a time but seems to count seconds since 1970: write 2025-12-31T00:00:00Z',
  },
  {
    title: 'a year of two digits',
    bytes: value('at', '31.12.25'),
    answer:
      'models/data/roses.csv, line 7, column "at": `31.12.25` is not a time: write the year first and with four digits, such as 2026-12-31',
  },
  {
    title: 'a leap second',
    bytes: value('at', '2016-12-31T23:59:60Z'),
    answer:
      'models/data/roses.csv, line 7, column "at": `2016-12-31T23:59:60Z` is not a time: a minute ends with second 59: write that one, or the next minute',
  },
  {
    title: 'hours of half a day',
    bytes: value('at', '2025-12-31 10:00 PM'),
    answer:
      'models/data/roses.csv, line 7, column "at": `2025-12-31 10:00 PM` is not a time: write the hours from 00 to 23, such as 2026-12-31T18:30:00Z',
  },
  {
    title: 'a basic form of ISO 8601',
    bytes: value('at', '20251231T101500Z'),
    answer:
      'models/data/roses.csv, line 7, column "at": `20251231T101500Z` is not a time that is read: write 2025-12-31T10:15:00Z',
  },
  {
    title: 'a word for a time',
    bytes: value('known', 'tomorrow'),
    answer:
      'models/data/roses.csv, line 7, column "known": `tomorrow` is not a time: write one such as 2026-12-31 or 2026-12-31T18:30:00Z',
  },
  {
    title: 'the name of a zone',
    bytes: value('at', '2025-12-31 10:00:00 BST'),
    answer:
      'models/data/roses.csv, line 7, column "at": `2025-12-31 10:00:00 BST` is not a time: the name of a zone may stand for two offsets: write the offset, such as 2026-12-31T18:30:00+01:00',
  },
  {
    title: 'an hour that is twice',
    bytes: value('at', '2025-10-26 02:30:00 Europe/Berlin'),
    answer:
      'models/data/roses.csv, line 7, column "at": `2025-10-26 02:30:00 Europe/Berlin` is not a time: the name of a zone may stand for two offsets: write the offset, such as 2026-12-31T18:30:00+01:00',
  },
  {
    title: 'an infinite time',
    bytes: value('at', '-infinity'),
    answer: 'models/data/roses.csv, line 7, column "at": `-infinity` is not a time: leave the cell empty',
  },
  {
    title: 'the word epoch',
    bytes: value('at', 'epoch'),
    answer:
      'models/data/roses.csv, line 7, column "at": `epoch` is not a time: write one such as 2026-12-31 or 2026-12-31T18:30:00Z',
  },
  {
    title: 'an offset of a day',
    bytes: value('at', '2025-12-31T10:00:00+24:00'),
    answer:
      'models/data/roses.csv, line 7, column "at": `2025-12-31T10:00:00+24:00` is not a time: write one such as 2026-12-31 or 2026-12-31T18:30:00Z',
  },
  {
    title: 'times known, but empty',
    bytes: line(7, (row) => row.replace('2026-02-01T10:00:00Z', '')),
    answer:
      'known: left out of 40 rows: 1 with a label but without the time at which it became known, none without a time allowed',
  },
  {
    title: 'times of events, but empty',
    bytes: value('at', ''),
    answer: 'at: left out of 40 rows: 1 without the time of the event, none without a time allowed',
  },
  {
    title: 'the label 2',
    bytes: value('blooms', '2'),
    answer:
      'models/data/roses.csv, line 7, column "blooms": `2` is neither true nor false: write true or false, yes or no, 1 or 0; oneOf([…]) declares a label of several classes',
  },
  {
    title: 'the label maybe',
    bytes: value('blooms', 'maybe'),
    answer:
      'models/data/roses.csv, line 7, column "blooms": `maybe` is neither true nor false: write true or false, yes or no, 1 or 0; oneOf([…]) declares a label of several classes',
  },
  {
    title: 'a missing label',
    bytes: value('blooms', ''),
    answer: 'blooms: 2.5 % are null, none allowed',
  },
  {
    title: 'a category that is not declared',
    bytes: value('colour', 'purple'),
    answer: 'colour: 2.5 % are not one of red, white, such as `purple`, none allowed',
  },
  {
    title: 'a category in upper case',
    bytes: value('colour', 'RED'),
    answer: 'colour: 2.5 % are not one of red, white, such as `RED`, none allowed',
  },
  {
    title: 'a short row',
    bytes: line(7, () => '5,2026-01-06'),
    answer:
      'models/data/roses.csv, line 7: the row has 2 values, the header has 7 names: write every value, and nothing between two delimiters for a missing one',
  },
  {
    title: 'a short first row',
    bytes: line(2, () => '5,2026-01-06'),
    answer:
      'models/data/roses.csv, line 2: the row has 2 values, the header has 7 names: write every value, and nothing between two delimiters for a missing one',
  },
  {
    title: 'a long row',
    bytes: line(7, (row) => `${row},1`),
    answer:
      'models/data/roses.csv, line 7: the row has 8 values, the header has 7 names: put a value that contains "," in double quotes, and write decimals with a point',
  },
  {
    title: 'the file ends within a row',
    bytes: goodFile.slice(0, -20),
    answer:
      'models/data/roses.csv, line 41: the file ends within a row (3 values of 7): export it again completely',
  },
  {
    title: 'a quote that is never closed',
    bytes: value('plot', '"north'),
    answer:
      'models/data/roses.csv, line 7: a double quote is opened and not closed before the end of its value: close it, or write "" for a quote within a quoted value',
  },
  {
    title: 'a quote that swallows rows',
    bytes: value('colour', '"red').replace(/(\n8,[^\n]*),(red|white),/, '$1,$2",'),
    answer:
      'models/data/roses.csv, line 7: a double quote is opened and not closed before the end of its value: close it, or write "" for a quote within a quoted value (it swallows 3 rows)',
  },
  {
    title: 'text after a quote',
    bytes: value('plot', '"north"west'),
    answer:
      'models/data/roses.csv, line 7: a double quote is opened and not closed before the end of its value: close it, or write "" for a quote within a quoted value',
  },
  {
    title: 'a text of three megabytes',
    bytes: value('plot', 'x'.repeat(3_000_000)),
    answer:
      'models/data/roses.csv, line 7: the row is longer than 2000000 bytes: shorten its text, or close the double quote that swallows the rows after it',
  },
  {
    title: 'NUL in a text',
    bytes: value('plot', 'no\0rth'),
    answer: 'plot: 2.5 % have unreadable characters, such as `no\\u0000rth`, none allowed',
  },
  {
    title: 'a column that the SQL renames',
    rows: 'select *, size as tall from source',
    bytes: value('size', 'N/A'),
    answer: `models/data/roses.csv, line 7, column "size": \`N/A\` is not a number: leave the cell empty, and declare number({ missing: 'fill' }) when values may be missing`,
  },
  {
    title: 'a cast in the SQL',
    rows: 'select * replace (plot::integer as plot) from source',
    bytes: goodFile,
    answer:
      'models/data/roses.csv, line 3, column "plot": `north` is not a number: write digits such as 3.5, or declare the feature with category() (25 more such rows)',
  },
  {
    title: 'a column that the SQL reads',
    rows: 'select *, weight * 2 as w from source',
    bytes: goodFile,
    answer:
      'models/data/roses.csv, line 1: there is no column "weight", which the SQL of the source reads, among id, at, known, size, colour, plot, blooms: rename the column, or correct the name in the model file',
  },
  {
    title: 'a column with a name of snapshots',
    rows: 'select *, size as _part from source',
    bytes: goodFile,
    answer:
      'the rows of the source have a column "_part", a name that snapshots use themselves: rename it or leave it out in `rows` of the source',
  },
  {
    title: 'a column that is named as a word of SQL',
    bytes: goodFile.replace('plot', 'end'),
    rows: 'select id, "at", known, size, colour, end, blooms from source',
    answer: 'the SQL of the source names the column "end", a word of SQL: write it in double quotes',
  },
  {
    title: 'SQL with a typing error',
    rows: 'select * form source',
    bytes: goodFile,
    answer: 'the SQL of the source has a syntax error at "source": correct rows or derive in the model file',
  },
]
