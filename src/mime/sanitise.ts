/**
 * HTML of strangers made safe to show: no scripts, forms, frames or style sheets; inline styles from a short list of harmless
 * properties; nothing is loaded from anywhere. Pictures on the network keep their address in `data-remote-src` for a reader
 * who asks for them; pictures of the message (`cid:`) and small embedded ones stay.
 */
import sanitizeHtml from "sanitize-html";

const tags = [
  "a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div",
  "dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s",
  "samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr",
].flatMap((line) => line.split(" "));

/** No parentheses, colons, slashes or backslashes: such a value can neither load nor hide anything. */
const plainValue = /^[-a-z0-9#%.,\s'"!]{1,200}$/i;
const colour = /^(?:rgb|hsl)a?\([\d\s.,%/]{1,60}\)$/i;
const safe = [plainValue, colour];
const sides = ["", "-top", "-right", "-bottom", "-left"];
const properties = [
  ..."color background-color font font-family font-size font-style font-variant font-weight letter-spacing".split(" "),
  ..."line-height text-align text-decoration text-indent text-transform vertical-align white-space word-break".split(" "),
  ..."word-spacing word-wrap overflow-wrap direction width max-width min-width height max-height display float clear".split(" "),
  ..."list-style-type table-layout border-collapse border-spacing border-radius caption-side".split(" "),
  ...sides.flatMap((side) => [`margin${side}`, `padding${side}`, `border${side}`]),
  ...sides.flatMap((side) => [`border${side}-color`, `border${side}-style`, `border${side}-width`]),
];

const presentation = ["align", "bgcolor", "color", "dir", "height", "lang", "style", "title", "valign", "width"];
const tableCell = ["abbr", "axis", "colspan", "headers", "nowrap", "rowspan", "scope"];
const rasterData = /^data:image\/(?:png|gif|jpe?g|webp|bmp);base64,[a-z0-9+/=\s]+$/i;

/** Where the picture comes from decides whether it may be loaded. */
const picture: sanitizeHtml.Transformer = (tagName, { src = "", ...attribs }) => {
  const address = src.trim();
  if (/^cid:/i.test(address) || rasterData.test(address)) return { tagName, attribs: { ...attribs, src: address } };
  return { tagName, attribs: /^(?:https?:)?\/\//i.test(address) ? { ...attribs, "data-remote-src": address } : attribs };
};

const link: sanitizeHtml.Transformer = (tagName, attribs) => ({
  tagName,
  attribs: attribs["href"] === undefined ? attribs : { ...attribs, rel: "noopener noreferrer nofollow", target: "_blank" },
});

const options: sanitizeHtml.IOptions = {
  allowedTags: tags,
  allowedAttributes: {
    "*": presentation,
    a: ["href", "rel", "target"],
    img: ["src", "alt", "border", "hspace", "vspace", "data-remote-src"],
    table: ["border", "cellpadding", "cellspacing", "frame", "rules", "summary"],
    ...Object.fromEntries(["td", "th", "col", "colgroup"].map((tag) => [tag, [...tableCell, "span"]])),
    font: ["face", "size"],
    hr: ["noshade", "size"],
    ol: ["start", "type", "reversed"],
    ul: ["type"],
    li: ["type", "value"],
    time: ["datetime"],
  },
  allowedStyles: { "*": Object.fromEntries(properties.map((property) => [property, safe])) },
  allowedSchemes: ["http", "https", "mailto", "tel"],
  allowedSchemesByTag: { img: ["cid", "data"] },
  allowedSchemesAppliedToAttributes: ["href", "src"],
  allowProtocolRelative: false,
  nonTextTags: [
    "script",
    "style",
    "textarea",
    "option",
    "noscript",
    "title",
    "template",
    "xmp",
    "noembed",
    "noframes",
    "plaintext",
  ],
  nestingLimit: 200,
  transformTags: { img: picture, a: link },
};

/** Safe HTML with the same words. Never loads, runs or submits anything; free of NUL and lone surrogates. */
export const sanitiseHtml = (html: string): string => sanitizeHtml(html, options).replaceAll("\0", "").toWellFormed();
